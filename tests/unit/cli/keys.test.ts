import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand, type CommandResult } from '../../support/command-line.js';

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'splenium-cli-keys-'));
});
afterEach(async () => {
  await rm(cwd, { recursive: true });
});

const keys = (...argv: readonly string[]): Promise<CommandResult> => runCommand(['keys', ...argv], { cwd });
const secretOf = async (file: string): Promise<string> =>
  /secret-key = "(.*)"/.exec(await readFile(join(cwd, file), 'utf8'))?.[1] ?? '';

/** Says nothing of the secret, in neither stream. */
function expectNoSecret({ out, err }: CommandResult, secret: string): void {
  expect(secret).toHaveLength(40);
  expect(`${out}${err}`).not.toContain(secret);
}

test('generate makes the directory and both files, names them, and shows the public key only', async () => {
  const made = await keys('generate', 'new/keys', 'agent');
  expect(made.exitCode).toBe(0);
  expect(made.out.split('\n')).toEqual(
    ['agent.key', 'agent.key_secret'].map((name) => join(cwd, 'new/keys', name)),
  );
  expect((await stat(join(cwd, 'new/keys'))).mode & 0o777).toBe(0o700);
  expect((await stat(join(cwd, 'new/keys/agent.key_secret'))).mode & 0o777).toBe(0o600);
  const shown = await keys('show', 'new/keys/agent.key');
  expect(made.err).toBe(`public key ${shown.out}`);
  expectNoSecret(made, await secretOf('new/keys/agent.key_secret'));
});

test('generate replaces nothing unless it is told to', async () => {
  await keys('generate', '.', 'agent');
  const before = await secretOf('agent.key_secret');
  const again = await keys('generate', '.', 'agent');
  expect(again.exitCode).toBe(1);
  expect(again.err).toMatch(/^KEY_FILE_INVALID: .*agent\.key_secret/);
  expect(await secretOf('agent.key_secret')).toBe(before);

  expect((await keys('generate', '.', 'agent', '--force')).exitCode).toBe(0);
  expect(await secretOf('agent.key_secret')).not.toBe(before);
  expect((await keys('check', 'agent.key_secret')).exitCode).toBe(0);
});

test.each(['../agent', 'a/b', '', '.hidden', 'a b'])('%j is no base name: 2', async (name) => {
  const { exitCode, err } = await keys('generate', 'deep', name);
  expect(exitCode).toBe(2);
  expect(err).toContain(`no base name: '${name}'`);
  await expect(stat(join(cwd, 'deep'))).rejects.toMatchObject({ code: 'ENOENT' });
});

test('show prints the public key of either file, and never the secret one', async () => {
  await keys('generate', '.', 'agent');
  const [ofPublic, ofSecret] = [await keys('show', 'agent.key'), await keys('show', 'agent.key_secret')];
  expect(ofPublic.out).toHaveLength(40);
  expect(ofSecret.out).toBe(ofPublic.out);
  expectNoSecret(ofSecret, await secretOf('agent.key_secret'));
});

test('check is content with a fresh pair', async () => {
  await keys('generate', '.', 'agent');
  const checked = await keys('check', 'agent.key_secret');
  expect(checked).toMatchObject({ exitCode: 0, out: `ok ${(await keys('show', 'agent.key')).out}` });
  expectNoSecret(checked, await secretOf('agent.key_secret'));
});

test('check refuses a secret that others may read, and says how to repair it', async () => {
  await keys('generate', '.', 'agent');
  await chmod(join(cwd, 'agent.key_secret'), 0o644);
  const { exitCode, err } = await keys('check', 'agent.key_secret');
  expect(exitCode).toBe(1);
  expect(err).toMatch(/^KEY_FILE_MODE: .*mode 0644.*chmod 600/);
});

test.each([
  [
    'halves of two pairs',
    async () => {
      await keys('generate', '.', 'other');
      const other = (await keys('show', 'other.key')).out;
      const text = await readFile(join(cwd, 'agent.key_secret'), 'utf8');
      await writeFile(
        join(cwd, 'agent.key_secret'),
        text.replace(/public-key = ".*"/, () => `public-key = "${other}"`),
      );
    },
    /does not belong/,
  ],
  ['not a key file', () => writeFile(join(cwd, 'agent.key_secret'), 'hello\n'), /no public-key line/],
  ['no file', () => rm(join(cwd, 'agent.key_secret')), /agent\.key_secret/],
])('check refuses %s without showing a secret', async (_title, spoil, complaint) => {
  await keys('generate', '.', 'agent');
  const secret = await secretOf('agent.key_secret');
  await spoil();
  const checked = await keys('check', 'agent.key_secret');
  expect(checked.exitCode).toBe(1);
  expect(checked.err).toMatch(/^KEY_FILE_INVALID: /);
  expect(checked.err).toMatch(complaint);
  expectNoSecret(checked, secret);
});

test('check refuses the public file of a pair', async () => {
  await keys('generate', '.', 'agent');
  expect((await keys('check', 'agent.key')).err).toContain('is this the public file of the pair?');
});
