import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KernelCreationRequest } from '../../../src/kernels/requests.js';
import { FakeRunners } from '../../support/fake-runners.js';
import { FaultyBackend } from '../../support/faulty-backend.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { ManualClock } from '../../support/manual-clock.js';
import { eventually } from '../../support/eventually.js';
import { AgentBench, NEVER } from './agent-bench.js';

let runners: FakeRunners;
let backend: FaultyBackend;
let clock: ManualClock;
let bench: AgentBench;

beforeEach(async () => {
  runners = new FakeRunners();
  backend = new FaultyBackend();
  backend.endpointsOf = runners.endpointsOf;
  clock = new ManualClock();
  bench = await AgentBench.start(backend, { clock, settings: { creationConcurrency: 1 } });
});
afterEach(async () => {
  backend.faults.heal();
  await bench.stop();
  await bench.remove();
  await runners[Symbol.asyncDispose]();
});

const create = async (request = kernelRequest()): Promise<KernelCreationRequest> => {
  await bench.agent.createKernels([request], NEVER);
  return request;
};
const nothingIsHeld = () => {
  expect(bench.agent.examine()).toEqual([]);
  expect(bench.agent.kernels.size).toBe(0);
  expect(backend.containers).toEqual([]);
  expect(bench.pools[0]?.freeCount).toBe(bench.pools[0]?.capacity);
  for (const { allocated } of Object.values(bench.agent.resourceUsage().slots)) expect(allocated).toBe('0');
};

describe('life of an agent', () => {
  test('its start and its end are announced; kernels go on', async () => {
    const { kernelId } = await create();
    expect(bench.events.published[0]).toMatchObject({
      source: 'i-one',
      event: { name: 'agent_started', reason: 'self-started' },
    });
    await bench.agent.stop();
    expect(bench.events.published.at(-1)).toMatchObject({
      event: { name: 'agent_terminated', reason: 'shutdown' },
    });
    expect(backend.containersOf(kernelId)).toMatchObject([{ status: 'running' }]);
  });

  test('a start that fails half-way lets go of everything, and the next one works', async () => {
    const { kernelId } = await create();
    await bench.stop();
    backend.faults.fail('backend.list');
    await expect(AgentBench.start(backend, { clock, directory: bench.directory })).rejects.toThrow(
      'injected failure at backend.list',
    );
    bench = await AgentBench.start(backend, { clock, directory: bench.directory });
    expect(bench.agent.isRunning(kernelId)).toBe(true);
    expect(await bench.agent.pingKernel(kernelId, NEVER)).toEqual({ startedAtSec: 1 });
  });

  test('a kernel that is being created when the agent stops is broken off and cleaned up', async () => {
    const request = kernelRequest();
    const hang = backend.faults.hang('backend.start');
    const creation = expect(create(request)).rejects.toMatchObject({ pythonName: 'AgentError' });
    await hang.entered;
    await bench.agent.stop();
    await creation;
    nothingIsHeld();
  });

  test('background tasks that run when the agent stops are cancelled and announced', async () => {
    const { image } = kernelRequest().config;
    backend.faults.hang('images.pull');
    const tasks = await bench.agent.checkAndPull(new Map([['wanted', image]]));
    await backend.faults.reached('images.pull', 1);
    expect(bench.agent.isPulling(image.canonical)).toBe(true);
    await bench.agent.stop();
    expect(bench.events.named('bgtask_cancelled')).toMatchObject([{ taskId: tasks.get('wanted') }]);
    expect(bench.agent.isPulling(image.canonical)).toBe(false);
  });
});

test('reset ends all kernels, also those that wait for their turn, and the agent stays in service', async () => {
  await create();
  const hang = backend.faults.hang('backend.create');
  const requests = [kernelRequest(), kernelRequest(), kernelRequest()];
  const creation = bench.agent.createKernels(requests, NEVER);
  const failed = expect(creation).rejects.toMatchObject({ pythonName: 'TaskGroupError' });
  await hang.entered;
  await bench.agent.reset(NEVER);
  await failed;
  nothingIsHeld();
  const ended = bench.events.named('kernel_terminated');
  expect(ended.map(({ reason }) => reason)).toEqual(Array.from({ length: 4 }, () => 'agent-termination'));
  const { kernelId } = await create();
  expect(bench.agent.isRunning(kernelId)).toBe(true);
});

test('a reset that cannot end one kernel ends the others and says so', async () => {
  const [first] = [await create(), await create()];
  backend.faults.fail('backend.remove');
  await expect(bench.agent.reset(NEVER)).rejects.toMatchObject({ code: 'KERNEL_CLEANUP_FAILED' });
  expect([...bench.agent.kernels].map(({ id }) => id)).toEqual([first.kernelId]);
  await bench.agent.reset(NEVER);
  nothingIsHeld();
});

test('a caller who gives up does not stop a reset', async () => {
  await create();
  const hang = backend.faults.hang('backend.stop');
  const caller = new AbortController();
  const reset = expect(bench.agent.reset(caller.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
  await hang.entered;
  caller.abort();
  await reset;
  hang.release();
  await eventually(nothingIsHeld);
});

test.each([true, false])(
  'after a shutdown no kernel is created; terminating: %s',
  async (terminateKernels) => {
    const { kernelId } = await create();
    await bench.agent.shutdown({ terminateKernels }, NEVER);
    expect(bench.agent.isRunning(kernelId)).toBe(!terminateKernels);
    await expect(create()).rejects.toMatchObject({
      pythonName: 'RuntimeError',
      message: expect.stringContaining('restart the daemon first') as string,
    });
    if (terminateKernels) nothingIsHeld();
  },
);

test('ports are leased for a minute; a kernel takes over the lease it is given', async () => {
  const port = await bench.agent.assignPort();
  expect(await bench.agent.assignPort()).not.toBe(port);
  const plain = kernelRequest();
  const cluster = { ...plain.cluster, clusterSshPortMapping: { main1: ['127.0.0.1', port] as const } };
  const { kernelId } = await create({ ...plain, cluster });
  await bench.agent.releasePort(port);
  clock.advance(60_000);
  expect(bench.pools[0]?.holders().get(port)).toBe(kernelId);
  expect(bench.agent.kernels.get(kernelId).ports?.booked).toContain(port);
  expect(bench.agent.examine()).toEqual([]);

  // Its lease has run out, and somebody else has the port by now.
  const late = kernelRequest();
  await expect(create({ ...late, cluster })).rejects.toMatchObject({
    pythonName: 'AgentError',
    message: expect.stringContaining(`port ${String(port)}`) as string,
  });
  await bench.agent.reset(NEVER);
  nothingIsHeld();
});

test('a kernel whose ports are another one’s by now is ended at the start, not the agent', async () => {
  const one = await create();
  const two = await create();
  const { ports } = bench.agent.kernels.get(one.kernelId);
  await bench.stop();
  // As an operator who restored an old state directory would do it.
  const directory = join(AgentBench.stateDirectoryOf(bench.directory, 'i-one'), 'kernels');
  const path = join(directory, `${two.kernelId}.json`);
  const record = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
  await writeFile(path, JSON.stringify({ ...record, ports }));
  bench = await AgentBench.start(backend, { clock, directory: bench.directory });
  expect(bench.agent.kernels.size).toBe(1);
  expect(bench.agent.examine()).toEqual([]);
  expect(bench.events.named('kernel_terminated')).toMatchObject([{ reason: 'anomaly-detected' }]);
});

test('a kernel that has no runner to talk to: refused by name, never in the dark', async () => {
  const request = kernelRequest();
  const { kernelId } = request;
  const hang = backend.faults.hang('backend.create');
  const creation = create(request);
  await hang.entered;
  expect(await bench.agent.pingKernel(kernelId, NEVER)).toBeNull();
  const refused = { pythonName: 'RuntimeError', retryable: true };
  await expect(bench.agent.interruptKernel(kernelId)).rejects.toMatchObject(refused);
  await expect(bench.agent.complete(kernelId, 'x', {}, NEVER)).rejects.toMatchObject(refused);
  await expect(bench.agent.listFiles(kernelId, '.')).rejects.toMatchObject(refused);
  await expect(bench.agent.uploadFile(kernelId, 'a', new Uint8Array())).rejects.toMatchObject(refused);
  expect(await bench.agent.logs(kernelId)).toBe('');
  hang.release();
  await creation;
  runners.of(kernelId).isAnswering = false;
  const impatient = AbortSignal.timeout(50);
  expect(await bench.agent.pingKernel(kernelId, impatient)).toBeNull();
  expect(await bench.agent.complete(kernelId, 'x', {}, impatient)).toBeNull();
  expect(await bench.agent.startService(kernelId, 'ttyd', {}, impatient)).toEqual({
    status: 'failed',
    error: 'cancelled',
  });
});

test('the scaling group is saved before it is told', async () => {
  await bench.agent.updateScalingGroup('gpu');
  expect(bench.groups).toEqual([['i-one', 'gpu']]);
  expect(bench.agent.scalingGroup).toBe('gpu');

  const refusing = await AgentBench.start(new FaultyBackend(), {
    node: { saveScalingGroup: () => Promise.reject(new Error('the file is read-only')) },
  });
  await expect(refusing.agent.updateScalingGroup('gpu')).rejects.toThrow('read-only');
  expect(refusing.agent.scalingGroup).toBe('default');
  await refusing.stop();
  await refusing.remove();
});
