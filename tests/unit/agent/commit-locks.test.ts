import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { CommitLocks } from '../../../src/agent/commit-locks.js';
import { parseAgentId, parseKernelId } from '../../../src/core/ids.js';
import { lockHolders } from '../../../src/daemon/reports.js';
import { identifyProcess } from '../../../src/runtime/process-identity.js';
import { RecordedLog } from '../../support/recorded-log.js';

const AGENT = parseAgentId('i-one');
const KERNEL = parseKernelId(randomUUID());

let root: string;
let file: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'spl-cl-'));
  file = join(root, 'user', 'lock', KERNEL);
  await mkdir(dirname(file), { recursive: true });
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await rm(root, { recursive: true });
});

const open = async (agentId = AGENT) =>
  new CommitLocks({ agentId, root, holders: await lockHolders(), logger: new RecordedLog() });
/** As another process would have written it. */
async function lockOf(agentId: string): Promise<ChildProcess> {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  children.push(child);
  await once(child, 'spawn');
  const identity = await identifyProcess(child.pid ?? 0);
  await writeFile(file, JSON.stringify({ agentId, kernelId: KERNEL, ...identity, nonce: 'other' }));
  return child;
}
async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}
const names = () => readdir(dirname(file));

test('a lock is a file while it is held, and nothing is left of it', async () => {
  const locks = await open();
  const lock = await locks.take(file, KERNEL);
  expect(locks.isHeld(file)).toBe(true);
  expect([...locks.kernels]).toEqual([KERNEL]);
  expect(await names()).toEqual([KERNEL]);
  expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ agentId: AGENT, pid: process.pid });
  await lock?.release();
  await lock?.release();
  expect(locks.isHeld(file)).toBe(false);
  expect(locks.kernels.size).toBe(0);
  expect(await names()).toEqual([]);
});

test('of many who try at once one gets it, and the others leave it alone', async () => {
  const [locks, others] = [await open(), await open()];
  const taken = await Promise.all(
    Array.from({ length: 10 }, (_, index) => (index % 2 ? locks : others).take(file, KERNEL)),
  );
  expect(taken.filter((lock) => lock !== null)).toHaveLength(1);
  expect(await names()).toEqual([KERNEL]);
});

test('who does not own the file does not remove it', async () => {
  const locks = await open();
  const lock = await locks.take(file, KERNEL);
  await writeFile(file, 'of somebody else');
  await lock?.release();
  expect(await readFile(file, 'utf8')).toBe('of somebody else');
  expect(locks.isHeld(file)).toBe(false);
});

test('a lock of a living process is respected, one of a killed process is taken over', async () => {
  const child = await lockOf(AGENT);
  const locks = await open();
  expect(await locks.take(file, KERNEL)).toBeNull();
  expect(locks.isHeld(file)).toBe(false);
  await kill(child);
  const lock = await locks.take(file, KERNEL);
  expect(lock).not.toBeNull();
  await lock?.release();
});

test('an empty lock file, as the original leaves it, does not stand in the way', async () => {
  await writeFile(file, '');
  const locks = await open();
  const lock = await locks.take(file, KERNEL);
  expect(lock).not.toBeNull();
  await lock?.release();
  expect(await names()).toEqual([]);
});

describe('at the start', () => {
  test('what a killed run of the same agent left is removed, its unfinished file too', async () => {
    await kill(await lockOf(AGENT));
    const partial = join(root, 'user', `.${KERNEL}.partial`);
    await writeFile(partial, 'half of it');
    await writeFile(join(root, 'user', 'finished.tar.gz'), 'whole');
    expect([...(await (await open()).purge())]).toEqual([KERNEL]);
    expect(await names()).toEqual([]);
    expect(await readdir(join(root, 'user'))).toEqual(['finished.tar.gz', 'lock']);
  });

  test('locks of living processes and of other agents stay', async () => {
    const child = await lockOf(AGENT);
    await (await open()).purge();
    expect(await names()).toEqual([KERNEL]);
    await kill(child);
    await (await open(parseAgentId('i-two'))).purge();
    expect(await names()).toEqual([KERNEL]);
  });

  test('a missing directory is nothing to complain of', async () => {
    const log = new RecordedLog();
    const holders = await lockHolders();
    await new CommitLocks({ agentId: AGENT, root: join(root, 'none'), holders, logger: log }).purge();
    expect(log.lines).toEqual([]);
  });
});
