import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand, type CommandResult } from '../../support/command-line.js';

const GOOD = `[agent]
backend = "process"
rpc-listen-addr = "127.0.0.1:6001"
`;
const SECRET = 'a-secret-that-nobody-may-see';
const WITH_SECRETS = `${GOOD}[redis]
addr = "127.0.0.1:6379"
password = "${SECRET}"
[etcd]
addr = "127.0.0.1:2379"
user = "someone"
password = "${SECRET}"
`;

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'splenium-cli-config-'));
  await writeFile(join(cwd, 'agent.toml'), GOOD);
});
afterEach(async () => {
  await rm(cwd, { recursive: true });
});

const config = (
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CommandResult> => runCommand(['config', ...argv], { cwd, home: cwd, env });
const write = (name: string, text: string): Promise<void> => writeFile(join(cwd, name), text);

test('check: a good file, found by itself, named, or named by the environment', async () => {
  const ok = { exitCode: 0, out: `${join(cwd, 'agent.toml')}: ok, 1 agent(s)`, err: '' };
  expect(await config(['check'])).toMatchObject(ok);
  expect(await config(['check', '--config', 'agent.toml'])).toMatchObject(ok);
  expect(
    await runCommand(['config', 'check'], { env: { BACKEND_CONFIG_FILE: join(cwd, 'agent.toml') } }),
  ).toMatchObject(ok);
});

test('check: everything that is wrong at once, each with its place, 78', async () => {
  await write(
    'bad.toml',
    '[agent]\nbackend = "podman"\nrpc-listen-addr = "nowhere"\n[resource]\nreserved-mem = "much"\n',
  );
  const { exitCode, out, err } = await config(['check', '-c', 'bad.toml']);
  expect(exitCode).toBe(78);
  expect(out).toBe('');
  const file = join(cwd, 'bad.toml');
  expect(err.split('\n').map((line) => line.split(': ').slice(0, 2))).toEqual([
    [`${file}:2:11`, 'agent.backend'],
    [`${file}:3:19`, 'agent.rpc-listen-addr'],
    [`${file}:5:16`, 'resource.reserved-mem'],
  ]);
});

test.each([
  ['no such file', ['check', '-c', 'missing.toml'], /missing\.toml: no such file/],
  ['not TOML', ['check', '-c', 'broken.toml'], /broken\.toml:\d+:\d+: not TOML/],
  ['show', ['show', '-c', 'missing.toml'], /missing\.toml: no such file/],
  ['diff', ['diff', 'agent.toml', 'missing.toml'], /missing\.toml: no such file/],
])('a file that cannot be read (%s): 78', async (_title, argv, complaint) => {
  await write('broken.toml', 'agent = [\n');
  const { exitCode, err } = await config(argv);
  expect(exitCode).toBe(78);
  expect(err).toMatch(complaint);
});

test('check: a mistyped key is a warning with what was probably meant, and no failure', async () => {
  await write('typo.toml', `${GOOD}[resource]\nreserved-memm = "1G"\n`);
  const { exitCode, err } = await config(['check', '-c', 'typo.toml']);
  expect(exitCode).toBe(0);
  expect(err).toMatch(/typo\.toml:5:17: resource\.reserved-memm: .*reserved-mem/);
});

test('check --live: what the file names is looked at; a taken port is found, 78', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await write('taken.toml', `[agent]\nbackend = "process"\nrpc-listen-addr = "127.0.0.1:${String(port)}"\n`);
  const { exitCode, out, err } = await config(['check', '--live', '-c', 'taken.toml']);
  server.close();
  expect(exitCode).toBe(78);
  expect(out).toMatch(new RegExp(`^FAILED port .*127\\.0\\.0\\.1:${String(port)}`, 'm'));
  expect(err).toMatch(/of the things it names are not usable/);
});

test.each([['show'], ['show', '--json'], ['show', '--origin'], ['show', '--origin', '--used', '--json']])(
  '%s %s %s %s hides every secret',
  async (...argv) => {
    await write('agent.toml', WITH_SECRETS);
    const { exitCode, out, err } = await config(argv);
    expect(exitCode).toBe(0);
    expect(out).toContain('password');
    expect(`${out}${err}`).not.toContain(SECRET);
  },
);

test('diff names the keys and hides the secrets', async () => {
  await write('before.toml', WITH_SECRETS);
  await write(
    'after.toml',
    WITH_SECRETS.replaceAll(SECRET, `${SECRET}-too`).replace('127.0.0.1:6001', '127.0.0.1:6002'),
  );
  const { exitCode, out } = await config(['diff', 'before.toml', 'after.toml']);
  expect(exitCode).toBe(0);
  expect(out).toMatch(/^agent\.rpc-listen-addr: .*6001.* -> .*6002/m);
  expect(out).toMatch(/^redis\.password: /m);
  expect(out).not.toContain(SECRET);
});

test('show --json is one object; --agent takes an agent that there is', async () => {
  await write(
    'two.toml',
    `${GOOD}[[agents]]\n[agents.agent]\nid = "i-one"\n[[agents]]\n[agents.agent]\nid = "i-two"\n[agents.container]\nport-range = [40000, 40100]\n`,
  );
  const shown = await config(['show', '-c', 'two.toml', '--agent', 'i-two', '--json']);
  expect(shown.exitCode).toBe(0);
  expect(JSON.stringify(JSON.parse(shown.out))).toContain('40000');
  const unknown = await config(['show', '-c', 'two.toml', '--agent', 'i-three']);
  expect(unknown.exitCode).toBeGreaterThan(0);
  expect(unknown.err).toContain('i-three');
});

test('the sample is a file that check is content with', async () => {
  const { out } = await config(['sample']);
  await write('sample.toml', out);
  expect(await config(['check', '-c', 'sample.toml'])).toMatchObject({ exitCode: 0, err: '' });
});
