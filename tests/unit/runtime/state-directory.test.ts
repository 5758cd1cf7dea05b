import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/core/logger.js';
import { parseAgentId } from '../../../src/core/ids.js';
import { identifyProcess } from '../../../src/runtime/process-identity.js';
import { StateDirectory } from '../../../src/runtime/state-directory.js';
import { RecordedLog } from '../../support/recorded-log.js';

let parent: string;
let path: string;
const opened: StateDirectory[] = [];

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'splenium-state-'));
  path = join(parent, 'state');
});
afterEach(async () => {
  for (const directory of opened.splice(0)) await directory.close();
  await rm(parent, { recursive: true, force: true });
});

async function open(logger = silentLogger): Promise<StateDirectory> {
  const directory = await StateDirectory.open(path, logger);
  opened.push(directory);
  return directory;
}
const modeOf = async (file: string) => ((await stat(file)).mode & 0o777).toString(8);
const lockFile = () => join(path, 'daemon.lock');

describe('the directory', () => {
  test('is made with everything in it private to its owner', async () => {
    const { layout } = await open();
    for (const made of [path, layout.agentsDirectory, layout.socketsDirectory, join(path, 'keys')])
      await expect(modeOf(made)).resolves.toBe('700');
    await expect(modeOf(layout.lockFile)).resolves.toBe('600');
    expect(layout.operatorKeyFile).toBe(join(path, 'keys', 'operator.key_secret'));
  });

  test('is closed to others when it exists already', async () => {
    await mkdir(path);
    await chmod(path, 0o755);
    await open();
    await expect(modeOf(path)).resolves.toBe('700');
  });

  test('must not be one that many share', async () => {
    await mkdir(path);
    await chmod(path, 0o1777);
    await expect(open()).rejects.toMatchObject({ code: 'STATE_DIRECTORY_UNUSABLE' });
    await expect(stat(path)).resolves.toMatchObject({ mode: expect.any(Number) });
    expect((await stat(path)).mode & 0o1777).toBe(0o1777);
  });

  test('must be a directory', async () => {
    await writeFile(path, '');
    await expect(open()).rejects.toMatchObject({
      code: 'STATE_DIRECTORY_UNUSABLE',
      message: expect.stringContaining(path),
    });
  });

  test('has room for the journals of each agent', async () => {
    const state = await open();
    const kernels = await state.kernelsDirectory(parseAgentId('i-node01:gpu'));
    expect(kernels).toBe(join(path, 'agents', 'i-node01:gpu', 'kernels'));
    await expect(modeOf(kernels)).resolves.toBe('700');
    await expect(modeOf(join(path, 'agents', 'i-node01:gpu'))).resolves.toBe('700');
  });

  test('refuses a socket whose path the system cannot hold', async () => {
    const state = await open();
    expect(state.socketPath('a.sock')).toBe(join(path, 'sockets', 'a.sock'));
    expect(() => state.socketPath('x'.repeat(100))).toThrow(
      expect.objectContaining({ code: 'STATE_DIRECTORY_UNUSABLE' }),
    );
  });
});

describe('the lock', () => {
  test('keeps a second daemon out as long as the first one lives', async () => {
    await open();
    await expect(StateDirectory.open(path, silentLogger)).rejects.toMatchObject({
      code: 'STATE_DIRECTORY_IN_USE',
      message: expect.stringContaining(`process ${String(process.pid)} already works`),
    });
    await opened.pop()?.close();
    await open();
  });

  test('is taken over from a process that is gone', async () => {
    await (await open()).close();
    const child = spawn(process.execPath, ['--eval', '']);
    const pid = child.pid ?? 0;
    await once(child, 'exit');
    await writeFile(lockFile(), JSON.stringify({ pid, start: 'boot/1' }));
    const logger = new RecordedLog();
    await open(logger);
    expect(logger.lines).toEqual([
      expect.objectContaining({ level: 'warn', fields: { file: lockFile(), pid } }),
    ]);
  });

  test('is taken over when its number belongs to another process now', async () => {
    await (await open()).close();
    const self = await identifyProcess(process.pid);
    // Where the system tells no start time, a number that is alive has to count as the holder.
    if (self?.start === null) return;
    await writeFile(lockFile(), JSON.stringify({ pid: process.pid, start: 'another-boot/1' }));
    await open();
  });

  test.each(['', 'garbage', '{"pid":-1,"start":null}'])('is taken over when it says %p', async (content) => {
    await (await open()).close();
    await writeFile(lockFile(), content);
    await open();
  });

  test('goes to exactly one of many who want it at once, and leaves nothing else behind', async () => {
    await (await open()).close();
    await writeFile(lockFile(), 'garbage');
    const outcomes = await Promise.allSettled(
      Array.from({ length: 16 }, () => StateDirectory.open(path, silentLogger)),
    );
    const winners = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    opened.push(...winners);
    expect(winners).toHaveLength(1);
    expect((await readdir(path)).sort()).toEqual(['agents', 'daemon.lock', 'keys', 'sockets']);
  });

  test('is taken over although an earlier takeover was cut short', async () => {
    await (await open()).close();
    await writeFile(lockFile(), 'garbage');
    await writeFile(`${lockFile()}.takeover`, 'garbage');
    await open();
    expect((await readdir(path)).sort()).toEqual(['agents', 'daemon.lock', 'keys', 'sockets']);
  });

  test('of somebody else is left alone on closing', async () => {
    const state = await open();
    await writeFile(lockFile(), 'somebody else');
    await state.close();
    await expect(readFile(lockFile(), 'utf8')).resolves.toBe('somebody else');
  });
});

describe('ids made up for agents', () => {
  test('stay the same over restarts, one for each place', async () => {
    const first = await open();
    const ids = [await first.generatedAgentId(1), await first.generatedAgentId(0)];
    expect(ids[0]).toMatch(/^agent-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(new Set(ids).size).toBe(2);
    await first.close();
    const second = await open();
    await expect(second.generatedAgentId(0)).resolves.toBe(ids[1]);
    await expect(second.generatedAgentId(1)).resolves.toBe(ids[0]);
    await expect(modeOf(join(path, 'agent-ids.json'))).resolves.toBe('600');
  });

  test.each(['', '{"version":2,"ids":[]}', '{"version":1,"ids":["../x"]}'])(
    'are not made up anew when their file says %p',
    async (content) => {
      const state = await open();
      await writeFile(join(path, 'agent-ids.json'), content);
      await expect(state.generatedAgentId(0)).rejects.toBeDefined();
    },
  );
});

describe('the endpoint', () => {
  const endpoint = { rpcAddress: 'tcp://127.0.0.1:6001', serverPublicKey: null, httpUrl: null };

  test('is there until the directory is closed', async () => {
    const state = await open();
    await state.publishEndpoint(endpoint);
    const { endpointFile } = state.layout;
    expect(JSON.parse(await readFile(endpointFile, 'utf8'))).toEqual({
      version: 1,
      pid: process.pid,
      ...endpoint,
    });
    await expect(modeOf(endpointFile)).resolves.toBe('600');
    await state.close();
    await expect(stat(endpointFile)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('that a daemon left behind is gone before the next one serves', async () => {
    await (await open()).close();
    await writeFile(join(path, 'endpoint.json'), '{}');
    await open();
    await expect(stat(join(path, 'endpoint.json'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
