import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RuntimeError } from '../../../src/core/errors.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { LifecycleBench, NOTHING } from './lifecycle-bench.js';

const never = new AbortController().signal;

/** A host port that the pool has handed out and that another program has bound meanwhile. */
class TakenError extends RuntimeError {
  override readonly code = 'BACKEND_START_FAILED';
  constructor(...takenPorts: readonly number[]) {
    super('address already in use', { details: { takenPorts } });
  }
}

let bench: LifecycleBench;
beforeEach(async () => {
  bench = await LifecycleBench.open();
});
afterEach(async () => {
  await bench.abandon();
});

const create = async (request: ReturnType<typeof kernelRequest>) => {
  const [result] = await bench.lifecycle.create([request], never);
  if (!result) throw new Error('no result');
  return result;
};
const destroy = ({ kernelId, sessionId }: ReturnType<typeof kernelRequest>) =>
  bench.lifecycle.destroy({ kernelId, sessionId, reason: null, suppressEvents: false });
const starts = () => bench.faults.passed.filter((point) => point === 'backend.start');

test('a creation tries again with others, and everything names those', async () => {
  // Ports come in order: the runner's two, sshd, ttyd, jupyter.
  bench.faults.fail('backend.start', { error: new TakenError(30_001, 30_004) });
  const request = kernelRequest();
  const result = await create(request);
  expect(result).toMatchObject({ replInPort: 30_000, replOutPort: 30_005 });
  expect(result.servicePorts.map(({ hostPorts }) => hostPorts)).toEqual([[30_002], [30_003], [30_006]]);
  const { plan, handle } = bench.backend.containers[0] ?? {};
  expect(bench.backend.containers).toHaveLength(1);
  expect(plan).toMatchObject({ replInPort: 30_000, replOutPort: 30_005 });
  expect(plan?.ports.map(({ hostPort }) => hostPort)).toEqual(
    expect.arrayContaining([30_002, 30_003, 30_006]),
  );
  const config = join(bench.scratchRoot, request.kernelId, 'config');
  expect((await readFile(join(config, 'resource.txt'), 'utf8')).match(/^CID=.*$/gm)).toEqual([
    `CID=${String(handle?.containerId)}`,
  ]);
  expect(bench.conservation().booked).toEqual(bench.conservation().held);
  expect(bench.events.terminations()).toEqual([]);
  await destroy(request);
  expect(await bench.leftovers()).toEqual(NOTHING);
});

test('a restart does, too, and tells the new ones', async () => {
  const request = kernelRequest();
  const { kernelId, sessionId, imageRef } = request;
  const { replInPort } = await create(request);
  bench.faults.fail('backend.start', { error: new TakenError(replInPort) });
  const answer = await bench.lifecycle.restart({ kernelId, sessionId, imageRef, updatedConfig: {} }, never);
  expect(answer.replInPort).not.toBe(replInPort);
  expect(bench.registry.get(kernelId).ports?.replIn).toBe(answer.replInPort);
  expect(bench.conservation().booked).toEqual(bench.conservation().held);
  await destroy(request);
  expect(await bench.leftovers()).toEqual(NOTHING);
});

test('a machine that takes one after another is given up at the third, and nothing is left', async () => {
  // Exchanged for the next in line each time.
  for (const [attempt, port] of [30_000, 30_005, 30_006].entries())
    bench.faults.failAt('backend.start', attempt + 1, new TakenError(port));
  await expect(create(kernelRequest())).rejects.toMatchObject({
    pythonName: 'AgentError',
    message: expect.stringContaining('address already in use') as unknown,
  });
  expect(starts()).toHaveLength(3);
  expect(await bench.leftovers()).toEqual(NOTHING);
  expect(bench.events.terminations()).toEqual(['failed-to-create']);
});

test('the SSH port that others of the cluster know cannot be another one: the creation fails at once', async () => {
  bench.faults.fail('backend.start', { error: new TakenError(30_050) });
  const request = kernelRequest();
  const cluster = { ...request.cluster, clusterSshPortMapping: { main1: ['10.0.0.1', 30_050] as const } };
  await expect(create({ ...request, cluster })).rejects.toThrow(/address already in use/);
  expect(starts()).toHaveLength(1);
  expect(await bench.leftovers()).toEqual(NOTHING);
});

test.each([
  ['backend.remove', 1],
  ['ports.acquire', 2],
  ['backend.create', 2],
])('what fails at %s of the second try fails the creation, which leaves nothing', async (point, times) => {
  bench.faults.fail('backend.start', { error: new TakenError(30_001) });
  bench.faults.failAt(point, times);
  await expect(create(kernelRequest())).rejects.toThrow(point);
  await bench.lifecycle.whenIdle();
  expect(await bench.leftovers()).toEqual(NOTHING);
});

test('a destroy request during the second try ends the kernel once', async () => {
  bench.faults.fail('backend.start', { error: new TakenError(30_001) });
  const hang = bench.faults.hang('backend.remove');
  const request = kernelRequest();
  const creation = create(request);
  creation.catch(() => undefined);
  await hang.entered;
  const end = destroy(request);
  hang.release();
  await end;
  await expect(creation).rejects.toMatchObject({ pythonName: 'AgentError' });
  expect(await bench.leftovers()).toEqual(NOTHING);
  expect(bench.events.terminations()).toEqual(['user-requested']);
});
