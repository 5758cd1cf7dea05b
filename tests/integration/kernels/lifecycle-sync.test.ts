import type { KernelId } from '../../../src/core/ids.js';
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

async function compared(): Promise<readonly { readonly kernelId: KernelId; readonly reason: string }[]> {
  const { ended } = await bench.lifecycle.compareWithBackend();
  await bench.lifecycle.whenIdle();
  return ended;
}

test('kernels that run are left alone, however often it looks', async () => {
  const { kernelId } = await running();
  expect(await compared()).toEqual([]);
  expect(await compared()).toEqual([]);
  expect(bench.registry.get(kernelId).state.name).toBe('running');
});

test('a kernel whose container ended without a report is announced as self-terminated, with its status', async () => {
  const { kernelId } = await running();
  bench.backend.exit(kernelId, 7, { silently: true });
  expect(await compared()).toEqual([{ kernelId, reason: 'self-terminated' }]);
  expect(bench.events.all.at(-1)).toMatchObject({
    name: 'kernel_terminated',
    reason: 'self-terminated',
    exitCode: 7,
  });
  expect(await bench.leftovers()).toEqual(NOTHING);
});

test('a kernel whose container somebody removed is announced as container-not-found', async () => {
  const { kernelId } = await running();
  bench.backend.vanish(kernelId);
  expect(await compared()).toEqual([{ kernelId, reason: 'container-not-found' }]);
  expect(bench.events.terminations(kernelId)).toEqual(['container-not-found']);
  expect(await bench.leftovers()).toEqual(NOTHING);
});

describe('a container of this agent that no kernel owns', () => {
  /** A running container that the next daemon has no record of. */
  async function stray(): Promise<KernelId> {
    const { kernelId } = await running();
    await bench.lifecycle.whenIdle();
    await bench.journal.forget(kernelId);
    bench = bench.crashed();
    return kernelId;
  }

  test('is destroyed as terminated-unknown-container while it runs', async () => {
    const kernelId = await stray();
    expect(await compared()).toEqual([{ kernelId, reason: 'terminated-unknown-container' }]);
    expect(bench.events.terminations(kernelId)).toEqual(['terminated-unknown-container']);
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test('is announced when a report says that it ended', async () => {
    const kernelId = await stray();
    bench.backend.exit(kernelId, 3);
    await bench.lifecycle.whenIdle();
    expect(bench.events.all).toMatchObject([{ reason: 'self-terminated', exitCode: 3 }]);
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test('is removed as self-terminated once it has ended', async () => {
    const kernelId = await stray();
    bench.backend.exit(kernelId, 0, { silently: true });
    expect(await compared()).toEqual([{ kernelId, reason: 'self-terminated' }]);
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test('is tried again when it cannot be removed, and announced once', async () => {
    const kernelId = await stray();
    bench.faults.fail('backend.remove', { times: 2 });
    await compared();
    expect(bench.events.terminations(kernelId)).toEqual([]);
    await compared();
    expect(bench.events.terminations(kernelId)).toEqual(['self-terminated']);
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test('stays when the backend cannot say whether it runs', async () => {
    await stray();
    bench.faults.fail('backend.inspect');
    expect(await compared()).toEqual([]);
    expect(bench.backend.containers).toHaveLength(1);
  });

  test('stays while a record of its kernel is kept for repair', async () => {
    await running();
    await bench.lifecycle.whenIdle();
    bench = bench.crashed();
    expect(await compared()).toEqual([]);
    expect(bench.backend.containers).toHaveLength(1);
  });

  test('stays when its kernel is asked for anew meanwhile', async () => {
    const kernelId = await stray();
    const hang = bench.faults.hang('backend.list');
    const comparison = bench.lifecycle.compareWithBackend();
    await hang.entered;
    const creating = bench.faults.hang('images.isAvailable');
    const creation = bench.lifecycle.create([kernelRequest({ kernelId })], never);
    await creating.entered;
    hang.release();
    expect((await comparison).ended).toEqual([]);
    creating.release();
    await creation;
    expect(bench.events.terminations()).toEqual([]);
  });
});

describe('races', () => {
  test.each(['backend.create:after', 'backend.start:after', 'runners.waitReady'])(
    'a kernel that is being created (at %s) is not touched (C2)',
    async (point) => {
      const hang = bench.faults.hang(point);
      const creation = bench.lifecycle.create([kernelRequest()], never);
      await hang.entered;
      expect((await bench.lifecycle.compareWithBackend()).ended).toEqual([]);
      hang.release();
      await expect(creation).resolves.toHaveLength(1);
      expect(bench.events.terminations()).toEqual([]);
    },
  );

  test('the exited container of a kernel that is being ended is not reported again (D2)', async () => {
    const { kernelId, sessionId } = await running();
    const hang = bench.faults.hang('backend.stop:after');
    const destruction = bench.lifecycle.destroy({
      kernelId,
      sessionId,
      reason: 'user-requested',
      suppressEvents: false,
    });
    await hang.entered;
    expect((await bench.lifecycle.compareWithBackend()).ended).toEqual([]);
    hang.release();
    await destruction;
    expect(bench.events.terminations(kernelId)).toEqual(['user-requested']);
  });

  test('a kernel that ends while its container is looked at keeps its reason', async () => {
    const { kernelId, sessionId } = await running();
    const hang = bench.faults.hang('backend.inspect');
    const comparison = bench.lifecycle.compareWithBackend();
    await hang.entered;
    await bench.lifecycle.destroy({ kernelId, sessionId, reason: null, suppressEvents: false });
    hang.release();
    expect((await comparison).ended).toEqual([]);
    expect(bench.events.terminations(kernelId)).toEqual(['user-requested']);
    expect(await bench.leftovers()).toEqual(NOTHING);
  });

  test('a kernel that ended between the list and the look is announced once', async () => {
    const { kernelId, sessionId } = await running();
    const list = bench.backend.list.bind(bench.backend);
    bench.backend.list = async (owner) => {
      const handles = await list(owner);
      await bench.lifecycle.destroy({ kernelId, sessionId, reason: null, suppressEvents: false });
      return handles;
    };
    expect(await compared()).toEqual([]);
    expect(bench.events.terminations(kernelId)).toEqual(['user-requested']);
  });

  test('a kernel that is being restarted is not touched', async () => {
    const request = await running();
    const hang = bench.faults.hang('backend.create');
    const restart = bench.lifecycle.restart(
      {
        sessionId: request.sessionId,
        kernelId: request.kernelId,
        imageRef: request.imageRef,
        updatedConfig: {},
      },
      never,
    );
    await hang.entered;
    expect((await bench.lifecycle.compareWithBackend()).ended).toEqual([]);
    hang.release();
    await restart;
    expect(bench.registry.get(request.kernelId).state.name).toBe('running');
    expect(bench.events.terminations()).toEqual([]);
  });
});

test('one container that cannot be inspected does not keep the others from being looked at', async () => {
  const [first, second] = [await running(), await running()];
  bench.backend.exit(first.kernelId, 0, { silently: true });
  bench.backend.exit(second.kernelId, 0, { silently: true });
  bench.faults.fail('backend.inspect');
  expect(await compared()).toHaveLength(1);
  expect(await compared()).toHaveLength(1);
  expect(await bench.leftovers()).toEqual(NOTHING);
});

test('a backend that cannot list its containers fails the round and ends nothing of strangers', async () => {
  await running();
  bench.faults.fail('backend.list');
  await expect(bench.lifecycle.compareWithBackend()).rejects.toThrow('injected failure');
  expect(bench.events.terminations()).toEqual([]);
});

test('nothing is compared after the agent is closed', async () => {
  const { kernelId } = await running();
  await bench.lifecycle.close();
  bench.backend.vanish(kernelId);
  expect((await bench.lifecycle.compareWithBackend()).ended).toEqual([]);
});
