import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AbuseReports, type WatchedAgent } from '../../../src/agent/abuse-reports.js';
import { underFileLock } from '../../../src/agent/report-lock.js';
import type { KernelId } from '../../../src/core/ids.js';
import { Kernel } from '../../../src/kernels/kernel.js';
import { pathOf, requirement } from '../../support/requirements.js';
import { FakeAgent } from '../../support/fake-agent.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { RecordedLog } from '../../support/recorded-log.js';

const withFlock = requirement(
  'flock (Debian: util-linux)',
  pathOf({ variable: '', what: 'flock', command: 'flock' }) !== '',
)
  ? describe
  : describe.skip;

let directory: string;
let log: RecordedLog;
let published: ReadonlyMap<string, string>[];
const children: ChildProcess[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spl-ar-'));
  log = new RecordedLog();
  published = [];
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await rm(directory, { recursive: true });
});

/** Holds the lock as the watcher does, until it is killed. */
async function holdLock(): Promise<ChildProcess> {
  const args = ['-x', join(directory, 'report.lock'), 'sh', '-c', 'echo held; exec sleep 600'];
  const child = spawn('flock', ['--no-fork', ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  children.push(child);
  await once(child.stdout, 'data');
  return child;
}

withFlock('the lock of a file', () => {
  test('is held while the work is done, and free afterwards', async () => {
    const file = join(directory, 'report.lock');
    const result = await underFileLock(file, 1000, async () => {
      await expect(underFileLock(file, 10, () => Promise.resolve())).rejects.toMatchObject({
        code: 'TIMEOUT',
      });
      return 'done';
    });
    expect(result).toBe('done');
    await underFileLock(file, 1000, () => Promise.resolve());
  });

  test('is free again after work that failed', async () => {
    const file = join(directory, 'report.lock');
    await expect(underFileLock(file, 1000, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    await underFileLock(file, 1000, () => Promise.resolve());
  });

  test('cannot be had where there is no directory, and the error says so', async () => {
    await expect(underFileLock(join(directory, 'none', 'x'), 1000, () => Promise.resolve())).rejects.toThrow(
      'cannot be locked',
    );
  });

  test('of a holder that was killed is had by the next', async () => {
    const holder = await holdLock();
    const waiting = underFileLock(join(directory, 'report.lock'), 20_000, () => Promise.resolve('had'));
    holder.kill('SIGKILL');
    expect(await waiting).toBe('had');
  });
});

withFlock('abuse reports', () => {
  const one = new FakeAgent('i-one');
  const two = new FakeAgent('i-two');
  afterEach(() => {
    for (const agent of [one, two]) {
      agent.calls.length = 0;
      for (const kernel of [...agent.kernels]) agent.kernels.remove(kernel.id);
    }
  });

  const reports = (agents: readonly WatchedAgent[]) =>
    new AbuseReports({
      directory,
      agents: () => agents,
      publish: (states) => {
        published.push(states);
        return Promise.resolve();
      },
      logger: log,
    });
  const kernelOf = (agent: FakeAgent): { readonly id: KernelId; readonly sessionId: string } => {
    const kernel = Kernel.requested(agent.id, kernelRequest(), 1);
    agent.kernels.add(kernel);
    return kernel;
  };
  const report = (name: string, content: unknown) =>
    writeFile(
      join(directory, `report.${name}.json`),
      typeof content === 'string' ? content : JSON.stringify(content),
    );
  const files = async () => (await readdir(directory)).filter((name) => name !== 'report.lock');
  const destroyed = (agent: FakeAgent) =>
    agent.calls.flatMap(({ method, args }) => (method === 'destroyKernel' ? args : []));

  test('are told as detected and stay where kernels are not ended', async () => {
    const kernel = kernelOf(one);
    const unknown = kernelRequest().kernelId;
    await report('a', { ID: kernel.id, CID: 'c', reason: 'cpu' });
    await report('b', { ID: unknown, CID: 'c' });
    await reports([{ agent: one, isForced: false }]).round();
    expect(published).toEqual([
      new Map([
        [kernel.id, 'detected'],
        [unknown, 'detected'],
      ]),
    ]);
    expect(destroyed(one)).toEqual([]);
    expect(await files()).toEqual(['report.a.json', 'report.b.json']);
  });

  test('end the kernel where that is wanted: known reasons are kept, others are an anomaly', async () => {
    const [first, second, third] = [kernelOf(one), kernelOf(one), kernelOf(one)];
    const unknown = kernelRequest().kernelId;
    await report('a', { ID: first.id, CID: 'c', reason: 'idle-timeout' });
    await report('b', { ID: second.id.toUpperCase(), CID: 'c', reason: 'mining' });
    await report('c', { ID: third.id, CID: 'c' });
    await report('d', { ID: unknown, CID: 'c' });
    await reports([{ agent: one, isForced: true }]).round();
    expect(Object.fromEntries(published[0] ?? [])).toEqual({
      [first.id]: 'cleaning',
      [second.id]: 'cleaning',
      [third.id]: 'cleaning',
    });
    const end = { suppressEvents: false };
    expect(destroyed(one)).toEqual([
      { ...end, kernelId: first.id, sessionId: first.sessionId, reason: 'idle-timeout' },
      { ...end, kernelId: second.id, sessionId: second.sessionId, reason: 'anomaly-detected' },
      { ...end, kernelId: third.id, sessionId: third.sessionId, reason: 'anomaly-detected' },
    ]);
    expect(await files()).toEqual(['report.d.json']);
  });

  test('of all agents are one, each kernel by the rule of its agent', async () => {
    const [kept, ended] = [kernelOf(one), kernelOf(two)];
    await report('a', { ID: kept.id, CID: 'c' });
    await report('b', { ID: ended.id, CID: 'c' });
    await reports([
      { agent: one, isForced: false },
      { agent: two, isForced: true },
    ]).round();
    expect(published).toEqual([
      new Map([
        [kept.id, 'detected'],
        [ended.id, 'cleaning'],
      ]),
    ]);
    expect(destroyed(one)).toEqual([]);
    expect(destroyed(two)).toHaveLength(1);
  });

  test('that make no sense are said once and left, and the others count', async () => {
    const kernel = kernelOf(one);
    await report('a', '{"ID": "half');
    await report('b', { ID: 'not-a-uuid' });
    await report('c', 'x'.repeat(70_000));
    await report('d', { ID: kernel.id });
    await writeFile(join(directory, 'notes.json'), '{}');
    const watching = reports([{ agent: one, isForced: false }]);
    await watching.round();
    await watching.round();
    expect(published).toEqual([new Map([[kernel.id, 'detected']]), new Map([[kernel.id, 'detected']])]);
    expect(log.lines.filter(({ message }) => message === 'an abuse report is not readable')).toHaveLength(3);
    expect(await files()).toHaveLength(5);
  });

  test('that are gone are no longer told', async () => {
    const kernel = kernelOf(one);
    await report('a', { ID: kernel.id });
    const watching = reports([{ agent: one, isForced: false }]);
    await watching.round();
    await rm(join(directory, 'report.a.json'));
    await watching.round();
    expect(published[1]).toEqual(new Map());
  });

  test('wait for the watcher that writes them', async () => {
    const kernel = kernelOf(one);
    const holder = await holdLock();
    const round = reports([{ agent: one, isForced: false }]).round();
    await report('a', { ID: kernel.id });
    holder.kill('SIGKILL');
    await round;
    expect(published).toEqual([new Map([[kernel.id, 'detected']])]);
  });
});
