import { randomUUID } from 'node:crypto';
import type {
  CommittedImage,
  ImageRequest,
  KernelBackend,
  KernelExit,
  KernelHandle,
  KernelPlan,
} from '../../src/backends/backend.js';
import { asContainerId, parseKernelId } from '../../src/core/ids.js';
import { eventually } from '../support/eventually.js';
import type { BackendHarness } from './backend.contract.js';

const NEVER = new AbortController().signal;
const QUICK = { graceMs: 10_000 };

/** What every backend tells of its kernels, what it says of those that it does not have, and how it opens and closes. */
export function describeBackendFacts(name: string, makeHarness: () => Promise<BackendHarness>): void {
  describe(`${name} backend, facts`, () => {
    let harness: BackendHarness;
    let backend: KernelBackend;
    let exits: KernelExit[];

    beforeEach(async () => {
      harness = await makeHarness();
      backend = await harness.open();
      exits = [];
      backend.onExit((exit) => exits.push(exit));
    });
    afterEach(async () => {
      await harness[Symbol.asyncDispose]();
    });

    const running = async (plan: KernelPlan): Promise<KernelHandle> => {
      const handle = await backend.create(plan, NEVER);
      await backend.start(handle, NEVER);
      await harness.stub(plan).ready();
      return handle;
    };
    /** One whose container is not here, as of a journal that is older than the machine's state. */
    const unknown = async (): Promise<KernelHandle> => {
      const real = await backend.create(await harness.plan(), NEVER);
      await backend.remove(real);
      return { ...real, containerId: asContainerId(randomUUID()) };
    };
    const named = (canonical: string | null): CommittedImage => ({ canonical, labels: {} });
    const localImage = (canonical: string): ImageRequest => ({
      canonical,
      digest: '',
      architecture: 'x86_64',
      isLocal: false,
      autoPull: 'tag',
      registry: null,
    });

    test('a second open changes nothing: an exit is reported once all the same', async () => {
      await backend.open();
      const plan = await harness.plan();
      await running(plan);
      await backend.open();
      await harness.stub(plan).order('exit 4');
      await eventually(() => {
        expect(exits).toMatchObject([{ exitCode: 4 }]);
      });
      await backend.close();
      expect(exits).toHaveLength(1);
    });

    test.each(['create', 'start'] as const)(
      'a close during %s waits for it, and the next backend finds what came of it',
      async (verb) => {
        const plan = await harness.plan();
        const created = verb === 'start' ? await backend.create(plan, NEVER) : null;
        const working =
          created === null ? backend.create(plan, NEVER) : backend.start(created, NEVER).then(() => created);
        const isOver = { work: false };
        const settled = working.finally(() => {
          isOver.work = true;
        });
        const closing = backend.close().then(() => isOver.work);
        const handle = await settled;
        expect(await closing).toBe(true);
        const second = await harness.open();
        expect(await second.list(plan.agentId)).toEqual([handle]);
        expect(await second.inspect(handle)).toMatchObject({
          status: verb === 'create' ? 'exited' : 'running',
        });
        await expect(second.create(plan, NEVER)).rejects.toMatchObject({ code: 'BACKEND_KERNEL_EXISTS' });
        await second.remove(handle);
        expect(await harness.leftovers()).toEqual([]);
      },
    );

    test('what is not here is gone for every verb, and nobody else is touched', async () => {
      const plan = await harness.plan();
      const handle = await running(plan);
      const stranger = await unknown();
      expect(await backend.inspect(stranger)).toEqual({ status: 'missing' });
      await backend.stop(stranger, QUICK);
      await backend.remove(stranger);
      await expect(backend.start(stranger, NEVER)).rejects.toMatchObject({ code: 'BACKEND_KERNEL_MISSING' });
      expect((await backend.details?.(stranger)) ?? null).toBeNull();
      expect((await backend.usageSources?.([stranger]))?.size ?? 0).toBe(0);
      expect(await backend.logs(stranger, { maxBytes: 100 })).toHaveLength(0);
      expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
      expect(exits).toEqual([]);
    });

    test('a handle that names the container of another kernel touches nothing', async () => {
      const handle = await running(await harness.plan());
      const forged = { ...handle, kernelId: parseKernelId(randomUUID()) };
      // Refused or not found: what comes from a journal names what is stopped and removed.
      const outcomes = await Promise.allSettled([
        backend.inspect(forged),
        backend.stop(forged, { graceMs: 0 }),
        backend.remove(forged),
        backend.start(forged, NEVER),
      ]);
      expect(outcomes[0]).not.toMatchObject({ value: { status: 'running' } });
      expect(outcomes[3].status).toBe('rejected');
      expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
      expect(exits).toEqual([]);
    });

    test('a kernel that has ended is still there: it is not created again', async () => {
      const plan = await harness.plan();
      const handle = await running(plan);
      await backend.stop(handle, QUICK);
      await expect(backend.create(plan, NEVER)).rejects.toMatchObject({ code: 'BACKEND_KERNEL_EXISTS' });
      expect(await backend.list(plan.agentId)).toEqual([handle]);
    });

    test('two kernels of one id at once: one is made, the other refused', async () => {
      const plan = await harness.plan();
      const outcomes = await Promise.allSettled([backend.create(plan, NEVER), backend.create(plan, NEVER)]);
      const made = outcomes.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
      const refused = outcomes.filter((one) => one.status === 'rejected');
      expect(made).toHaveLength(1);
      expect(refused).toMatchObject([{ reason: { code: 'BACKEND_KERNEL_EXISTS' } }]);
      expect(await backend.list(plan.agentId)).toEqual(made);
    });

    test('a plan is described in words that are JSON, and nothing is made', async () => {
      const plan = await harness.plan({ environment: { SHOWN: 'to people' } });
      const told = await backend.describe?.(plan);
      expect(JSON.parse(JSON.stringify(told))).toEqual(told);
      expect(JSON.stringify(told)).toContain('to people');
      expect(await harness.leftovers()).toEqual([]);
      expect(await backend.list(plan.agentId)).toEqual([]);
    });

    test('what a kernel was made of is told while it is there, also to the next backend', async () => {
      const plan = await harness.plan({ environment: { KEPT: 'yes' } });
      const handle = await running(plan);
      const expected = expect.objectContaining({
        scratch: plan.scratch.root,
        environment: expect.objectContaining({ KEPT: 'yes' }) as unknown,
      }) as unknown;
      expect(await backend.details?.(handle)).toEqual(expected);
      await backend.close();
      const second = await harness.open();
      expect(await second.details?.(handle)).toEqual(expected);
      await second.remove(handle);
      expect(await second.details?.(handle)).toBeNull();
    });

    test('usage is told of kernels that run, by the ids of their processes, and of no others', async () => {
      if (!backend.usageSources) return;
      const [plan, ended] = [await harness.plan(), await harness.plan()];
      const handle = await running(plan);
      const over = await running(ended);
      await backend.stop(over, QUICK);
      const created = await backend.create(await harness.plan(), NEVER);
      const { pid } = await harness.stub(plan).ready();
      const sources = await backend.usageSources([handle, over, created, await unknown()]);
      expect([...sources.keys()]).toEqual([plan.kernelId]);
      expect(sources.get(plan.kernelId)?.pids).toContain(pid);
    });

    test('an address that no kernel has is nobody', async () => {
      await running(await harness.plan());
      expect((await backend.kernelAt?.('203.0.113.1')) ?? null).toBeNull();
    });

    test('a log is bounded from its first byte on', async () => {
      const plan = await harness.plan();
      const handle = await running(plan);
      await harness.stub(plan).order(`print ${'x'.repeat(200)}`);
      await eventually(async () => {
        expect(await backend.logs(handle, { maxBytes: 100 })).toHaveLength(100);
      });
      expect(await backend.logs(handle, { maxBytes: 0 })).toHaveLength(0);
      await backend.stop(handle, QUICK);
      expect(await backend.logs(handle, { maxBytes: 100 })).toHaveLength(100);
    });

    test('a commit makes an image by its name, where there are images', async () => {
      const handle = await running(await harness.plan());
      const name = `localhost/contract/${randomUUID()}:1`;
      const commit = backend.commit(handle, named(name), NEVER);
      if (!harness.hasImages) {
        await expect(commit).rejects.toMatchObject({ code: 'NOT_IMPLEMENTED' });
        return;
      }
      const id = await commit;
      expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(await backend.images.isAvailable(localImage(name))).toBe(true);
      expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
      await backend.images.remove(name, { force: true, isPruningParents: true });
    });

    test('a commit of what is not here, or that nobody wants any more, makes nothing', async () => {
      const handle = await running(await harness.plan());
      const refused = harness.hasImages
        ? ['BACKEND_KERNEL_MISSING', 'CANCELLED']
        : Array(2).fill('NOT_IMPLEMENTED');
      await expect(backend.commit(await unknown(), named(null), NEVER)).rejects.toMatchObject({
        code: refused[0],
      });
      await expect(backend.commit(handle, named(null), AbortSignal.abort())).rejects.toMatchObject({
        code: refused[1],
      });
      expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
    });
  });
}
