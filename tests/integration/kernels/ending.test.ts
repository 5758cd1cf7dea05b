import { mkdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeKernel } from '../../../src/kernels/kernel-description.js';
import type { KernelCreationRequest } from '../../../src/kernels/requests.js';
import { kernelRequest } from '../../support/kernel-requests.js';
import { LifecycleBench, NOTHING } from './lifecycle-bench.js';

const never = new AbortController().signal;

let bench: LifecycleBench;
beforeEach(async () => {
  bench = await LifecycleBench.open();
});
afterEach(async () => {
  await bench.remove();
});

async function running(): Promise<KernelCreationRequest> {
  const request = kernelRequest();
  await bench.lifecycle.create([request], never);
  return request;
}

function destroy(
  { kernelId, sessionId }: KernelCreationRequest,
  options: { readonly reason?: string; readonly suppressEvents?: boolean } = {},
): Promise<void> {
  const { reason = null, suppressEvents = false } = options;
  return bench.lifecycle.destroy({ kernelId, sessionId, reason, suppressEvents });
}

describe('destroy', () => {
  test('resolves when nothing of the kernel is left, and announces it once', async () => {
    const request = await running();
    await destroy(request, { reason: 'idle-timeout' });
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual(['idle-timeout']);
    expect(bench.events.all.at(-1)).toEqual({
      name: 'kernel_terminated',
      kernelId: request.kernelId,
      sessionId: request.sessionId,
      reason: 'idle-timeout',
      exitCode: -1,
    });
  });

  test('of an unknown kernel is answered each time', async () => {
    const request = kernelRequest();
    await destroy(request);
    await destroy(request, { suppressEvents: true });
    await destroy(request);
    expect(bench.events.terminations()).toEqual(['already-terminated', 'already-terminated']);
  });

  test('asked for twice at once ends the kernel once, with the first reason', async () => {
    const request = await running();
    await Promise.all([
      destroy(request, { reason: 'idle-timeout' }),
      destroy(request, { reason: 'user-requested' }),
    ]);
    expect(bench.events.terminations()).toEqual(['idle-timeout']);
    expect(bench.faults.passed.filter((point) => point === 'backend.remove')).toHaveLength(1);
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test.each(['runners.disconnect', 'backend.remove', 'events.publish:kernel_terminated', 'journal.forget'])(
    'asked for again while the first is at %s waits for its end and is announced once',
    async (point) => {
      const request = await running();
      const hang = bench.faults.hang(point);
      const first = destroy(request);
      await hang.entered;
      let isOver = false;
      const second = destroy(request).then(() => {
        isOver = true;
      });
      await new Promise(setImmediate);
      expect(isOver).toBe(false);
      hang.release();
      await Promise.all([first, second]);
      expect(bench.events.terminations()).toEqual(['user-requested']);
      expect(await bench.leftovers()).toEqual(NOTHING);
    },
  );

  test('asked for aloud at the very end of a silent one is answered', async () => {
    const request = await running();
    const hang = bench.faults.hang('journal.forget');
    const silent = destroy(request, { suppressEvents: true });
    await hang.entered;
    const aloud = destroy(request);
    hang.release();
    await Promise.all([silent, aloud]);
    expect(bench.events.terminations()).toEqual(['already-terminated']);
  });

  test('is silent when asked to be, although the container reports its exit', async () => {
    const request = await running();
    await destroy(request, { suppressEvents: true });
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual([]);
  });

  test('is announced when only one of two who ask wants silence', async () => {
    const request = await running();
    await Promise.all([destroy(request, { suppressEvents: true }), destroy(request)]);
    expect(bench.events.terminations()).toEqual(['user-requested']);
  });

  test('of a container that somebody deleted succeeds and removes the scratch directory', async () => {
    const request = await running();
    bench.backend.vanish(request.kernelId);
    await destroy(request);
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual(['user-requested']);
  });

  test.each(['backend.stop', 'runners.disconnect', 'journal.record:5'])(
    'goes on to the end when %s fails',
    async (point) => {
      const request = await running();
      await bench.lifecycle.whenIdle();
      bench.faults.fail(point);
      await destroy(request);
      expect(bench.events.terminations()).toEqual(['user-requested']);
      const left = await bench.leftovers();
      expect({ ...left, links: 0 }).toEqual(NOTHING);
    },
  );

  test('of one kernel that hangs does not hold up another', async () => {
    const [slow, quick] = [await running(), await running()];
    const hang = bench.faults.hang('backend.stop');
    const slowEnd = destroy(slow);
    await hang.entered;
    await destroy(quick);
    expect(bench.registry.has(slow.kernelId)).toBe(true);
    hang.release();
    await slowEnd;
    expect(await bench.leftovers()).toEqual(NOTHING);
  });
});

describe('a container that cannot be removed', () => {
  test('keeps its resources, fails the request and is tried again in the background', async () => {
    const request = await running();
    bench.faults.fail('backend.remove', { times: 2 });
    await expect(destroy(request)).rejects.toMatchObject({ code: 'KERNEL_CLEANUP_FAILED', retryable: true });
    expect(bench.registry.get(request.kernelId).state).toEqual({
      name: 'terminating',
      reason: 'user-requested',
    });
    expect(bench.events.terminations()).toEqual([]);
    expect(bench.conservation().booked).toEqual(bench.conservation().held);
    bench.clock.advance(1_000);
    await bench.faults.reached('backend.remove', 2);
    await bench.lifecycle.whenIdle();
    bench.clock.advance(2_000);
    await bench.until(() => bench.events.terminations().length === 1);
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual(['user-requested']);
    // Managers are told once, not with each attempt.
    expect(bench.events.names.filter((name) => name === 'agent_error')).toHaveLength(1);
  });

  test('is tried again by the next destroy request at once', async () => {
    const request = await running();
    bench.faults.fail('backend.remove');
    await expect(destroy(request)).rejects.toMatchObject({ pythonName: 'AgentError' });
    await destroy(request);
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual(['user-requested']);
  });

  test('after a failed creation fails the creation and is ended later', async () => {
    bench.faults.fail('runners.waitReady');
    bench.faults.fail('backend.remove');
    const request = kernelRequest();
    await expect(bench.lifecycle.create([request], never)).rejects.toThrow(/Container startup failed/);
    expect(bench.registry.get(request.kernelId).state.name).toBe('terminating');
    expect(bench.events.terminations()).toEqual([]);
    await destroy(request);
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual(['failed-to-start']);
  });
});

describe('an exit', () => {
  test('of a running kernel ends it as self-terminated, once, with its status', async () => {
    const request = await running();
    const { handle } = bench.registry.get(request.kernelId);
    bench.backend.exit(request.kernelId, 7);
    await bench.until(() => bench.events.terminations().length === 1);
    if (handle) bench.backend.report({ handle, exitCode: 7, oomKilled: false, detail: 'again' });
    expect(await bench.leftovers()).toEqual(NOTHING);
    expect(bench.events.terminations()).toEqual(['self-terminated']);
    expect(bench.events.all.at(-1)).toMatchObject({ exitCode: 7 });
  });

  test('is told of in the description of the kernel while that ends', async () => {
    const request = await running();
    const hang = bench.faults.hang('backend.remove');
    bench.backend.exit(request.kernelId, 137);
    await hang.entered;
    const { state, stateDetail } = describeKernel(bench.registry.get(request.kernelId));
    expect({ state, stateDetail }).toEqual({ state: 'terminating', stateDetail: 'exited' });
    hang.release();
    await bench.until(() => bench.events.terminations().length === 1);
  });

  test('that crosses a destroy request keeps the reason that came first', async () => {
    const request = await running();
    const hang = bench.faults.hang('backend.remove');
    bench.backend.exit(request.kernelId, 0);
    await hang.entered;
    const destruction = destroy(request);
    hang.release();
    await destruction;
    expect(bench.events.terminations()).toEqual(['self-terminated']);
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test('reported for a container that still runs changes nothing', async () => {
    const request = await running();
    const { handle } = bench.registry.get(request.kernelId);
    if (handle) bench.backend.report({ handle, exitCode: 1, oomKilled: false, detail: 'a mistake' });
    await bench.lifecycle.whenIdle();
    expect(bench.registry.get(request.kernelId).state.name).toBe('running');
  });

  test('of a sibling agent is nobody’s business', async () => {
    const request = await running();
    const { handle } = bench.registry.get(request.kernelId);
    bench.faults.fail('backend.inspect');
    if (handle) {
      const agentId = 'i-sibling' as typeof handle.agentId;
      bench.backend.report({
        handle: { ...handle, agentId },
        exitCode: 1,
        oomKilled: false,
        detail: 'theirs',
      });
    }
    await bench.lifecycle.whenIdle();
    expect(bench.registry.get(request.kernelId).state.name).toBe('running');
    expect(bench.backend.containers).toHaveLength(1);
  });
});

describe('an end that the machine interferes with', () => {
  test('is announced although the scratch directory stays, which the next start removes', async () => {
    const request = await running();
    await rename(bench.scratchRoot, `${bench.scratchRoot}.away`);
    await writeFile(bench.scratchRoot, 'a file where a directory should be');
    await destroy(request);
    expect(bench.events.terminations()).toEqual(['user-requested']);
    expect(bench.registry.size).toBe(0);
    await rm(bench.scratchRoot);
    await rename(`${bench.scratchRoot}.away`, bench.scratchRoot);
    const next = bench.crashed();
    await next.lifecycle.recover();
    expect(await next.leftovers()).toEqual(NOTHING);
    expect(next.events.all).toEqual([]);
    await next.lifecycle.close();
  });

  test('is announced by the next start when it could not be announced by this one', async () => {
    const request = await running();
    bench.faults.fail('events.publish:kernel_terminated');
    await destroy(request);
    expect(bench.events.terminations()).toEqual([]);
    const next = bench.crashed();
    await next.lifecycle.recover();
    expect(next.events.terminations(request.kernelId)).toEqual(['user-requested']);
    expect(await next.leftovers()).toEqual(NOTHING);
    await next.lifecycle.close();
  });
});

test('files that the kernel has locked away are removed all the same', async () => {
  const request = await running();
  const locked = join(bench.scratchRoot, request.kernelId, 'work', 'locked');
  await mkdir(locked);
  await writeFile(join(locked, 'file'), 'x', { mode: 0o000 });
  await destroy(request);
  expect(await bench.leftovers()).toEqual(NOTHING);
});

test('nothing looks into the folders of a kernel at its start, restart and end, however much is in them (L12)', async () => {
  const folder = join(bench.directory, 'folder');
  const deep = join(folder, 'deep');
  await mkdir(deep, { recursive: true });
  await writeFile(join(deep, 'file'), 'x');
  const longAgo = new Date(1_000_000_000_000);
  for (const path of [join(deep, 'file'), deep, folder]) await utimes(path, longAgo, new Date());
  const facts = () =>
    Promise.all(
      [deep, join(deep, 'file')].map((path) => stat(path).then(({ atimeMs, ctimeMs }) => [atimeMs, ctimeMs])),
    );
  const before = await facts();
  const mount = {
    ...{ name: 'data', vfid: 'a1', vfsubpath: '.', hostPath: folder, kernelPath: '/home/work/data' },
    ...({ permission: 'rw', usageMode: 'general' } as const),
  };
  const request = kernelRequest({ config: { mounts: [mount] } });
  await bench.lifecycle.create([request], never);
  const { sessionId, kernelId, imageRef } = request;
  await bench.lifecycle.restart({ sessionId, kernelId, imageRef, updatedConfig: {} }, never);
  await destroy(request);
  expect(await bench.leftovers()).toEqual(NOTHING);
  // A listing would have set the time of access, a change of owner that of the change.
  expect(await facts()).toEqual(before);
});
