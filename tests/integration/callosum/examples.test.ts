import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { generateKeyPair, writeKeyFiles } from '../../../src/callosum/index.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const example = (name: string) => join(root, 'docs/examples', name);

let directory: string;
const running: ChildProcessWithoutNullStreams[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-examples-'));
});
afterEach(async () => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
  await rm(directory, { recursive: true, force: true });
});

/** The example as one script that stands on the sources instead of the built package. */
async function compile(name: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [example(name)],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    packages: 'external',
    alias: {
      'splenium/callosum': join(root, 'src/callosum/index.ts'),
      'splenium/codec': join(root, 'src/codec/index.ts'),
    },
  });
  return outputFiles[0]?.text ?? '';
}

/** A script on standard input finds the packages of its working directory. */
function run(script: string, args: readonly string[]): ChildProcessWithoutNullStreams {
  const child = spawn(process.execPath, ['--input-type=module', '-', ...args], { cwd: root, stdio: 'pipe' });
  running.push(child);
  child.stderr.pipe(process.stderr);
  child.stdin.end(script);
  return child;
}

async function firstLine(child: ChildProcessWithoutNullStreams): Promise<string | undefined> {
  for await (const line of createInterface({ input: child.stdout })) return line;
  return undefined;
}

const exitOf = (child: ChildProcessWithoutNullStreams) =>
  new Promise<number | null>((resolve) => child.once('exit', resolve));

test('the server and the client of the documentation speak over CURVE', async () => {
  const clients = join(directory, 'clients');
  await mkdir(clients);
  const serverFiles = await writeKeyFiles(directory, 'server', generateKeyPair());
  const client = generateKeyPair();
  const clientFiles = await writeKeyFiles(directory, 'client', client);
  await writeKeyFiles(clients, 'client', client);

  const server = run(await compile('callosum-server.ts'), [
    'tcp://127.0.0.1:0',
    serverFiles.secretFile,
    clients,
  ]);
  const endpoint = await firstLine(server);
  expect(endpoint).toMatch(/^tcp:\/\/127\.0\.0\.1:\d+$/);

  const caller = run(await compile('callosum-client.ts'), [
    endpoint ?? '',
    serverFiles.publicFile,
    clientFiles.secretFile,
    'Ada',
  ]);
  const ended = exitOf(caller);
  await expect(firstLine(caller)).resolves.toBe('Hello, Ada!');
  await expect(ended).resolves.toBe(0);

  const stopped = exitOf(server);
  server.kill('SIGTERM');
  await expect(stopped).resolves.toBe(0);
});

test.each(['callosum-server.ts', 'callosum-client.ts'])('%s has less than 30 lines', async (name) => {
  const lines = (await readFile(example(name), 'utf8')).trimEnd().split('\n');
  expect(lines.length).toBeLessThan(30);
});
