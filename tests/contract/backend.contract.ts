import { randomUUID } from 'node:crypto';
import type {
  KernelBackend,
  KernelExit,
  KernelHandle,
  KernelLimits,
  KernelPlan,
  PlannedMount,
} from '../../src/backends/backend.js';
import { parseAgentId, parseSessionId, type AgentId, type KernelId } from '../../src/core/ids.js';
import { eventually } from '../support/eventually.js';
import type { StubRunner } from '../support/stub-runner.js';

/** What a backend's tests must offer for the suite. Every kernel runs `tests/fixtures/stub-runner.mjs`. */
export interface BackendHarness extends AsyncDisposable {
  /** Kernels are made of images. */
  readonly hasImages: boolean;
  /** An opened backend; a second one stands on the same state, like the one of a restarted daemon. */
  open(): Promise<KernelBackend>;
  /** A plan with its scratch directories made. */
  plan(overrides?: PlanOverrides): Promise<KernelPlan>;
  /** The stub of a kernel that was started from the plan. */
  stub(plan: KernelPlan): StubRunner;
  /** The kernel's work directory as this process sees it. */
  workOf(plan: KernelPlan): string;
  /** About pids that the stub named. */
  isAlive(pid: number): Promise<boolean>;
  kill(pid: number): Promise<void>;
  /** Everything the backend still keeps for kernels; empty when all are removed. */
  leftovers(): Promise<readonly string[]>;
}

export interface PlanOverrides {
  readonly agentId?: AgentId;
  readonly kernelId?: KernelId;
  readonly environment?: Readonly<Record<string, string>>;
  readonly limits?: Partial<KernelLimits>;
  readonly identity?: Partial<KernelPlan['identity']>;
  readonly mounts?: readonly PlannedMount[];
}

const NEVER = new AbortController().signal;
const aborted = (): AbortSignal => AbortSignal.abort();
const QUICK = { graceMs: 10_000 };

/** What every backend does, whatever it runs kernels with. */
export function describeBackend(name: string, makeHarness: () => Promise<BackendHarness>): void {
  describe(`${name} backend`, () => {
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

    test('create makes a kernel that does not run, and its handle survives JSON', async () => {
      const plan = await harness.plan();
      const handle = await backend.create(plan, NEVER);
      expect(JSON.parse(JSON.stringify(handle))).toEqual(handle);
      expect(handle).toMatchObject({
        version: 1,
        backend: backend.kind,
        agentId: plan.agentId,
        kernelId: plan.kernelId,
        sessionId: plan.sessionId,
      });
      expect(await backend.inspect(handle)).toMatchObject({ status: 'exited', exitCode: null });
      expect(await backend.list(plan.agentId)).toEqual([handle]);
    });

    test('a started kernel gets its environment, its directories and nothing of the daemon', async () => {
      const plan = await harness.plan({ environment: { FROM_THE_PLAN: 'a=b\nc' } });
      process.env['SPLENIUM_TEST_OF_THE_DAEMON'] = 'secret';
      try {
        const handle = await running(plan);
        const { environment, args } = await harness.stub(plan).ready();
        expect(environment['FROM_THE_PLAN']).toBe('a=b\nc');
        expect(environment['BACKENDAI_KERNEL_ID']).toBe(plan.kernelId);
        expect(environment['SPLENIUM_TEST_OF_THE_DAEMON']).toBeUndefined();
        expect(args).toEqual(expect.arrayContaining(['--repl-in', '--repl-out', '--runtime', 'shell']));
        expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
      } finally {
        delete process.env['SPLENIUM_TEST_OF_THE_DAEMON'];
      }
    });

    test('start of a running kernel gives the same endpoints and starts nothing', async () => {
      const plan = await harness.plan();
      const handle = await backend.create(plan, NEVER);
      const endpoints = await backend.start(handle, NEVER);
      const { pid } = await harness.stub(plan).ready();
      expect(await backend.start(handle, NEVER)).toEqual(endpoints);
      expect((await harness.stub(plan).ready()).pid).toBe(pid);
      expect(await backend.inspect(handle)).toEqual({ status: 'running', endpoints });
    });

    test('a second create of one kernel is refused and leaves the first alone', async () => {
      const plan = await harness.plan();
      const handle = await running(plan);
      await expect(backend.create(plan, NEVER)).rejects.toMatchObject({ code: 'BACKEND_KERNEL_EXISTS' });
      expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
      expect(await backend.list(plan.agentId)).toEqual([handle]);
    });

    test('a create that fails leaves nothing', async () => {
      const plan = await harness.plan();
      const broken = { ...plan, scratch: { ...plan.scratch, work: `${plan.scratch.work}/not/there` } };
      await expect(backend.create(broken, NEVER)).rejects.toThrow();
      expect(await harness.leftovers()).toEqual([]);
    });

    test('a cancelled create leaves nothing', async () => {
      const plan = await harness.plan();
      await expect(backend.create(plan, aborted())).rejects.toMatchObject({ code: 'CANCELLED' });
      expect(await harness.leftovers()).toEqual([]);
      expect(await backend.list(plan.agentId)).toEqual([]);
    });

    test('a cancelled start leaves the kernel created', async () => {
      const plan = await harness.plan();
      const handle = await backend.create(plan, NEVER);
      const controller = new AbortController();
      const starting = backend.start(handle, controller.signal);
      setImmediate(() => {
        controller.abort();
      });
      await expect(starting).rejects.toMatchObject({ code: 'CANCELLED' });
      expect(await backend.inspect(handle)).toMatchObject({ status: 'exited', exitCode: null });
      await backend.start(handle, NEVER);
      await harness.stub(plan).ready();
      expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
      expect(exits).toEqual([]);
    });

    test('stop lets the runner end by itself and reports the exit once', async () => {
      const plan = await harness.plan();
      const handle = await running(plan);
      const { pid } = await harness.stub(plan).ready();
      await backend.stop(handle, QUICK);
      expect(await harness.isAlive(pid)).toBe(false);
      expect(exits).toEqual([expect.objectContaining({ handle, exitCode: 0, oomKilled: false })]);
      expect(await backend.inspect(handle)).toMatchObject({ status: 'exited', exitCode: 0 });
      await backend.stop(handle, QUICK);
      expect(exits).toHaveLength(1);
    });

    test('stop kills a runner that does not listen', async () => {
      const plan = await harness.plan({ environment: { STUB_IGNORES_SIGTERM: '1' } });
      const handle = await running(plan);
      const { pid } = await harness.stub(plan).ready();
      await backend.stop(handle, { graceMs: 50 });
      expect(await harness.isAlive(pid)).toBe(false);
      expect(exits).toHaveLength(1);
    });

    test('stop ends processes that left for a session of their own', async () => {
      const plan = await harness.plan();
      const handle = await running(plan);
      const left = await harness.stub(plan).leaveProcess();
      expect(await harness.isAlive(left)).toBe(true);
      await backend.stop(handle, QUICK);
      expect(await harness.isAlive(left)).toBe(false);
    });

    test('two stops at once both succeed, and the impatient one is not kept waiting', async () => {
      const plan = await harness.plan({ environment: { STUB_IGNORES_SIGTERM: '1' } });
      const handle = await running(plan);
      await Promise.all([backend.stop(handle, { graceMs: 600_000 }), backend.stop(handle, { graceMs: 0 })]);
      expect(await backend.inspect(handle)).toMatchObject({ status: 'exited' });
      expect(exits).toHaveLength(1);
    });

    test('stop and remove of a kernel that never ran, and of one that is gone, succeed', async () => {
      const handle = await backend.create(await harness.plan(), NEVER);
      await backend.stop(handle, QUICK);
      await backend.remove(handle);
      await backend.stop(handle, QUICK);
      await backend.remove(handle);
      expect(await backend.inspect(handle)).toEqual({ status: 'missing' });
      expect(await backend.list(handle.agentId)).toEqual([]);
      expect(exits).toEqual([]);
      await expect(backend.start(handle, NEVER)).rejects.toMatchObject({ code: 'BACKEND_KERNEL_MISSING' });
    });

    test('remove of a running kernel kills it and leaves nothing but the scratch directory', async () => {
      const plan = await harness.plan();
      const handle = await running(plan);
      const { pid } = await harness.stub(plan).ready();
      await Promise.all([backend.remove(handle), backend.remove(handle)]);
      expect(await harness.isAlive(pid)).toBe(false);
      expect(await backend.inspect(handle)).toEqual({ status: 'missing' });
      expect(await harness.leftovers()).toEqual([]);
      expect(exits).toHaveLength(1);
      await harness.stub(plan).ready();
    });

    test('a removed kernel can be created again, and the old handle does not touch the new one', async () => {
      const plan = await harness.plan();
      const old = await running(plan);
      await backend.remove(old);
      const handle = await running(plan);
      await backend.stop(old, QUICK);
      await backend.remove(old);
      expect(await backend.inspect(old)).toEqual({ status: 'missing' });
      expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
    });

    test('an exit by itself is reported once, with its status', async () => {
      const plan = await harness.plan();
      const handle = await running(plan);
      await harness.stub(plan).order('exit 7');
      await eventually(() => {
        expect(exits).toEqual([expect.objectContaining({ handle, exitCode: 7, oomKilled: false })]);
      });
      expect(await backend.inspect(handle)).toMatchObject({ status: 'exited', exitCode: 7 });
      await backend.remove(handle);
      expect(exits).toHaveLength(1);
    });

    test('an ended kernel starts again, and each of its exits is reported', async () => {
      const plan = await harness.plan();
      const handle = await running(plan);
      const { pid } = await harness.stub(plan).ready();
      await harness.stub(plan).order('exit 7');
      await eventually(() => {
        expect(exits).toHaveLength(1);
      });
      await backend.start(handle, NEVER);
      await eventually(async () => {
        expect((await harness.stub(plan).ready()).pid).not.toBe(pid);
      });
      expect(await backend.inspect(handle)).toMatchObject({ status: 'running' });
      await harness.stub(plan).order('exit 8');
      await eventually(() => {
        expect(exits.map(({ exitCode }) => exitCode)).toEqual([7, 8]);
      });
    });

    test('kill -9 of the runner is noticed, and what it left is killed before that is said', async () => {
      const plan = await harness.plan();
      const handle = await running(plan);
      const left = await harness.stub(plan).leaveProcess();
      const seen: boolean[] = [];
      backend.onExit(() => {
        void harness.isAlive(left).then((alive) => seen.push(alive));
      });
      await harness.kill((await harness.stub(plan).ready()).pid);
      await eventually(() => {
        expect(exits).toEqual([expect.objectContaining({ handle, exitCode: -9, oomKilled: false })]);
        expect(seen).toEqual([false]);
      });
    });

    test('a second backend finds a running kernel again, reports its exit with the status, and stops another', async () => {
      const plans = [await harness.plan(), await harness.plan()] as const;
      const handles = [await running(plans[0]), await running(plans[1])] as const;
      await backend.close();

      const second = await harness.open();
      const later: KernelExit[] = [];
      second.onExit((exit) => later.push(exit));
      const found = await second.list(plans[0].agentId);
      expect(new Set(found.map(({ kernelId }) => kernelId))).toEqual(
        new Set(plans.map(({ kernelId }) => kernelId)),
      );
      const journalled = JSON.parse(JSON.stringify(handles)) as typeof handles;
      expect(await second.inspect(journalled[0])).toMatchObject({ status: 'running' });
      expect(await second.inspect(journalled[1])).toMatchObject({ status: 'running' });
      await harness.stub(plans[0]).order('exit 3');
      await eventually(() => {
        expect(later).toEqual([expect.objectContaining({ handle: handles[0], exitCode: 3 })]);
      });
      await second.stop(journalled[1], QUICK);
      expect(later.map(({ handle }) => handle.kernelId)).toEqual(plans.map(({ kernelId }) => kernelId));
      expect(exits).toEqual([]);
    });

    test('an exit while no backend watched is told by inspect', async () => {
      const plan = await harness.plan();
      const handle = await running(plan);
      const { pid } = await harness.stub(plan).ready();
      await backend.close();
      await harness.stub(plan).order('exit 5');
      await eventually(async () => {
        expect(await harness.isAlive(pid)).toBe(false);
      });
      const second = await harness.open();
      await eventually(async () => {
        expect(await second.inspect(handle)).toMatchObject({ status: 'exited', exitCode: 5 });
      });
    });

    test('an unsubscribed listener hears nothing, a failing one disturbs nobody', async () => {
      const plan = await harness.plan();
      const handle = await running(plan);
      const heard: KernelExit[] = [];
      const unsubscribe = backend.onExit((exit) => heard.push(exit));
      backend.onExit(() => {
        throw new Error('a listener fails');
      });
      const after: KernelExit[] = [];
      backend.onExit((exit) => after.push(exit));
      unsubscribe();
      await backend.stop(handle, { graceMs: 0 });
      expect(heard).toEqual([]);
      expect(after).toHaveLength(1);
    });

    test('an agent sees its own kernels only', async () => {
      const [a, b] = [parseAgentId('i-agent-a'), parseAgentId('i-agent-b')];
      const ofA = await running(await harness.plan({ agentId: a }));
      const ofB = await running(await harness.plan({ agentId: b }));
      expect(await backend.list(a)).toEqual([ofA]);
      expect(await backend.list(b)).toEqual([ofB]);
      expect(await backend.list(parseAgentId('i-agent'))).toEqual([]);
      await backend.remove(ofA);
      expect(await backend.list(a)).toEqual([]);
      expect(await backend.inspect(ofB)).toMatchObject({ status: 'running' });
    });

    test('logs give the end of what the kernel has written', async () => {
      const plan = await harness.plan();
      const handle = await running(plan);
      await harness.stub(plan).order('print some first line');
      await harness.stub(plan).order('print the last line');
      await eventually(async () => {
        const text = Buffer.from(await backend.logs(handle, { maxBytes: 10_000 })).toString();
        expect(text.replaceAll('\r', '')).toContain('some first line\nthe last line\n');
      });
      const tail = await backend.logs(handle, { maxBytes: 6 });
      expect(Buffer.from(tail).toString().replaceAll('\r', '')).toMatch(/line\n$/);
      expect(tail.length).toBeLessThanOrEqual(6);
      await backend.remove(handle);
      expect(await backend.logs(handle, { maxBytes: 100 })).toHaveLength(0);
    });

    test('networks can be made and destroyed twice', async () => {
      const network = `test-${randomUUID()}`;
      await backend.networks.createLocal(network);
      await backend.networks.createLocal(network);
      await backend.networks.destroyLocal(network);
      await backend.networks.destroyLocal(network);
    });

    test('closing keeps kernels alive', async () => {
      const plan = await harness.plan();
      await running(plan);
      const { pid } = await harness.stub(plan).ready();
      await backend.close();
      await backend.close();
      expect(await harness.isAlive(pid)).toBe(true);
      expect(exits).toEqual([]);
    });

    test('many kernels at once start, stop and leave nothing', async () => {
      const sessionId = parseSessionId(randomUUID());
      const plans = await Promise.all(Array.from({ length: 4 }, () => harness.plan()));
      const handles = await Promise.all(plans.map((plan) => running({ ...plan, sessionId })));
      await Promise.all(handles.map((handle) => backend.stop(handle, QUICK)));
      expect(exits).toHaveLength(plans.length);
      await Promise.all(handles.map((handle) => backend.remove(handle)));
      expect(await harness.leftovers()).toEqual([]);
    });
  });
}
