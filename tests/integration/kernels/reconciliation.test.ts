import { randomUUID } from 'node:crypto';
import { parseKernelId, parseSessionId } from '../../../src/core/ids.js';
import type { KernelCreationRequest } from '../../../src/kernels/requests.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { LifecycleBench, NOTHING } from './lifecycle-bench.js';

const never = new AbortController().signal;

let bench: LifecycleBench;
beforeEach(async () => {
  bench = await LifecycleBench.open();
});
afterEach(async () => {
  await bench.abandon();
});

async function running(): Promise<KernelCreationRequest> {
  const request = kernelRequest();
  await bench.lifecycle.create([request], never);
  return request;
}

describe('sync', () => {
  test('ends what the manager does not list silently, and announces what is not here', async () => {
    const [listed, unlisted] = [await running(), await running()];
    const absent = { kernelId: parseKernelId(randomUUID()), sessionId: parseSessionId(randomUUID()) };
    await bench.lifecycle.sync([listed, absent]);
    await bench.lifecycle.whenIdle();
    expect([...bench.registry].map(({ id }) => id)).toEqual([listed.kernelId]);
    expect(bench.events.terminations()).toEqual(['already-terminated']);
    expect(bench.events.terminations(absent.kernelId)).toEqual(['already-terminated']);
    expect(bench.backend.containersOf(unlisted.kernelId)).toEqual([]);
  });

  test('does not wait for the ends that it starts', async () => {
    await running();
    const hang = bench.faults.hang('backend.stop');
    await bench.lifecycle.sync([]);
    await hang.entered;
    hang.release();
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test('leaves kernels alone that are being created', async () => {
    const hang = bench.faults.hang('backend.create');
    const request = kernelRequest();
    const creation = bench.lifecycle.create([request], never);
    await hang.entered;
    await bench.lifecycle.sync([]);
    await bench.lifecycle.sync([request]);
    hang.release();
    await expect(creation).resolves.toHaveLength(1);
    expect(bench.events.terminations()).toEqual([]);
  });
});

describe('purge', () => {
  test('ends a registered kernel with its container, silently', async () => {
    const { kernelId } = await running();
    const containerId = bench.registry.get(kernelId).containerId;
    if (containerId) await bench.lifecycle.purge([{ containerId, kernelId }]);
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual([]);
  });

  test('removes a stray container of this agent and its scratch directory', async () => {
    const { kernelId } = await running();
    const containerId = bench.registry.get(kernelId).containerId;
    await bench.lifecycle.whenIdle();
    await bench.journal.forget(kernelId);
    const next = bench.crashed();
    if (containerId) await next.lifecycle.purge([{ containerId, kernelId }]);
    expect(await next.leftovers()).toEqual(NOTHING);
    expect(next.events.all).toEqual([]);
    await next.abandon();
  });

  test('leaves a kernel alone whose container is another one', async () => {
    const { kernelId } = await running();
    const containerId = 'container-of-before' as NonNullable<
      ReturnType<typeof bench.registry.get>['containerId']
    >;
    await bench.lifecycle.purge([{ containerId, kernelId }]);
    await bench.lifecycle.whenIdle();
    expect(bench.registry.get(kernelId).state.name).toBe('running');
  });
});

describe('drop', () => {
  test('gives back everything of a kernel that the manager does not know, silently', async () => {
    const { kernelId } = await running();
    await bench.lifecycle.drop([kernelId]);
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual([]);
  });

  test('of an unknown kernel is only logged', async () => {
    await bench.lifecycle.drop([parseKernelId(randomUUID())]);
    expect(bench.logger.messages('warn')).toEqual(['kernel to drop is not here']);
  });
});

test('many kernels come, go and fail at once, and nothing is lost or booked twice', async () => {
  const requests = Array.from({ length: 24 }, () => kernelRequest());
  bench.faults.fail('backend.start', { times: 3 });
  bench.faults.fail('runners.waitReady', { times: 3 });
  bench.faults.fail('backend.remove', { times: 2 });
  const outcomes = await Promise.allSettled(
    requests.map((request) => bench.lifecycle.create([request], never)),
  );
  expect(outcomes.some(({ status }) => status === 'fulfilled')).toBe(true);
  expect(bench.conservation().booked).toEqual(bench.conservation().held);
  const ends = requests.map(({ kernelId, sessionId }) =>
    bench.lifecycle
      .destroy({ kernelId, sessionId, reason: null, suppressEvents: false })
      .catch(() => undefined),
  );
  await Promise.all(ends);
  await Promise.all(
    requests.map(({ kernelId, sessionId }) =>
      bench.lifecycle.destroy({ kernelId, sessionId, reason: null, suppressEvents: true }),
    ),
  );
  expect(await bench.leftovers()).toEqual(NOTHING);
  for (const { kernelId } of requests) {
    const own = bench.events.terminations(kernelId).filter((reason) => reason !== 'already-terminated');
    const announced = bench.events.all.some(
      (event) => event.name === 'kernel_preparing' && event.kernelId === kernelId,
    );
    expect(own).toHaveLength(announced ? 1 : 0);
  }
});
