import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { Clock } from '../../core/clock.js';
import { CancelledError, messageOf } from '../../core/errors.js';
import { asContainerId, type AgentId, type ContainerId } from '../../core/ids.js';
import { KeyedQueue } from '../../core/keyed-queue.js';
import type { Logger } from '../../core/logger.js';
import type {
  BackendFiles,
  BackendNetworks,
  CommittedImage,
  KernelBackend,
  KernelDetails,
  KernelExit,
  KernelHandle,
  KernelPlan,
  KernelProcessState,
  RunnerEndpoints,
} from '../backend.js';
import { cancellableSleep } from './cancellable-sleep.js';
import type { DummyContainer, DummyContainers, DummyExit } from './containers.js';
import {
  DummyKernelExistsError,
  DummyKernelMissingError,
  DummyStartError,
  DummyUnavailableError,
} from './errors.js';
import { DummyFiles } from './files.js';
import { DummyImages } from './images.js';
import { creationMs, describePlan, detailsOf } from './plans.js';
import { type DummySettings, FailurePlan } from './settings.js';

/** What answers in place of a kernel's runner. */
export interface DummyRunner {
  readonly endpoints: RunnerEndpoints;
  close(): void;
}

export interface DummyRunnerOptions {
  readonly startedAtSec: number;
  /** It hears everything and answers nothing. */
  readonly isSilent: boolean;
  /** Asked once a run. */
  readonly failsRun: () => boolean;
  /** Milliseconds until each kind of answer. */
  readonly delays: {
    readonly statusMs: number;
    readonly completionMs: number;
    readonly startServiceMs: number;
    readonly startModelServiceMs: number;
    readonly appsMs: number;
    readonly executeMs: number;
  };
  readonly sleep: Clock['sleep'];
}

export type ServeRunner = (options: DummyRunnerOptions) => Promise<DummyRunner>;

export interface DummyBackendOptions {
  readonly settings: DummySettings;
  readonly containers: DummyContainers;
  readonly serveRunner: ServeRunner;
  readonly clock: Clock;
  readonly logger: Logger;
  /** From 0 to 1, for failures by chance. Default: chance. */
  readonly random?: () => number;
}

/** Where somebody runs a runner by hand (spec/kernel-lifecycle.md 8). */
const REAL_RUNNER: RunnerEndpoints = { replIn: 'tcp://127.0.0.1:2000', replOut: 'tcp://127.0.0.1:2001' };
/** What a kernel that has written nothing has written. */
const LOGS = 'my logs';

/**
 * Kernels that are only entries in memory, for load tests of everything above them (spec/kernel-lifecycle.md 8). Every
 * step takes the time, and fails as often, as `agent.dummy.toml` says. A kernel never ends by itself.
 */
export class DummyBackend implements KernelBackend {
  readonly kind = 'dummy';
  readonly images: DummyImages;
  readonly networks: BackendNetworks;
  readonly files: BackendFiles;

  readonly #containers: DummyContainers;
  readonly #settings: DummySettings;
  readonly #serveRunner: ServeRunner;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #failures: FailurePlan;
  readonly #queue = new KeyedQueue<string>();
  readonly #listeners = new Set<(exit: KernelExit) => void>();
  /** Of running containers, from the moment somebody asks for their endpoints. */
  readonly #runners = new Map<ContainerId, Promise<DummyRunner>>();
  #stopListening: (() => void) | null = null;

  constructor(options: DummyBackendOptions) {
    const { settings, clock } = options;
    this.#containers = options.containers;
    this.#settings = settings;
    this.#serveRunner = options.serveRunner;
    this.#clock = clock;
    this.#logger = options.logger;
    this.#failures = new FailurePlan(settings.failures, options.random ?? Math.random);
    this.images = new DummyImages({
      settings,
      failures: this.#failures,
      isInUse: (name) => options.containers.uses(name),
      clock,
    });
    this.files = new DummyFiles({ delaysMs: settings.delaysMs, clock });
    this.networks = {
      createLocal: () => clock.sleep(settings.delaysMs['create-network']),
      destroyLocal: () => clock.sleep(settings.delaysMs['destroy-network']),
    };
  }

  async open(): Promise<void> {
    await this.#containers.open();
    this.#stopListening ??= this.#containers.onExit((exit) => {
      this.#report(exit);
    });
  }

  async close(): Promise<void> {
    await this.#queue.idle();
    this.#stopListening?.();
    this.#stopListening = null;
    this.#listeners.clear();
    await Promise.all([...this.#runners.keys()].map((id) => this.#closeRunner(id)));
    await this.#containers.idle();
  }

  onExit(listener: (exit: KernelExit) => void): () => void {
    const own = (exit: KernelExit) => {
      listener(exit);
    };
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** @throws DummyKernelExistsError, DummyStartError for a plan without directories, DummyFailureError */
  create(plan: KernelPlan, signal: AbortSignal): Promise<KernelHandle> {
    return this.#queue.run(plan.kernelId, () => this.#create(plan, signal));
  }

  /** What the container would be, and how long its steps would take. */
  describe(plan: KernelPlan): Promise<Readonly<Record<string, unknown>>> {
    return Promise.resolve(describePlan(plan, this.#settings));
  }

  /** @throws DummyKernelMissingError, DummyFailureError */
  start(handle: KernelHandle, signal: AbortSignal): Promise<RunnerEndpoints> {
    return this.#queue.run(handle.kernelId, () => this.#start(handle, signal));
  }

  /** A kernel obeys after `destroy-kernel`; one that is given less time is killed. @throws DummyFailureError */
  async stop(handle: KernelHandle, options: { readonly graceMs: number }): Promise<void> {
    // Not through the queue: an impatient second stop must not wait for the patience of the first.
    await this.#queue.passed(handle.kernelId);
    if (this.#find(handle)?.pid == null) return;
    this.#failures.check('stop', `kernel ${handle.kernelId}`);
    await this.#stop(handle, options.graceMs);
  }

  /** @throws DummyFailureError */
  remove(handle: KernelHandle): Promise<void> {
    return this.#queue.run(handle.kernelId, async () => {
      if (!this.#find(handle)) return;
      this.#failures.check('remove', `kernel ${handle.kernelId}`);
      await this.#stop(handle, 0);
      await this.#clock.sleep(this.#settings.delaysMs['clean-kernel']);
      await this.#containers.remove(handle.containerId);
    });
  }

  async inspect(handle: KernelHandle): Promise<KernelProcessState> {
    const container = this.#find(handle);
    if (!container) return { status: 'missing' };
    if (container.pid !== null) return { status: 'running', endpoints: await this.#endpointsOf(container) };
    return container.exit === null
      ? { status: 'exited', exitCode: null, detail: 'created, never started' }
      : { status: 'exited', ...container.exit };
  }

  list(owner: AgentId): Promise<readonly KernelHandle[]> {
    return Promise.resolve(this.#containers.ofAgent(owner).map(({ handle }) => handle));
  }

  details(handle: KernelHandle): Promise<KernelDetails | null> {
    return Promise.resolve(this.#find(handle)?.details ?? null);
  }

  /** @throws DummyKernelMissingError, also when the kernel ends meanwhile; DummyFailureError */
  async commit(handle: KernelHandle, image: CommittedImage, signal: AbortSignal): Promise<string> {
    const before = this.#find(handle);
    if (!before) throw isMissing(handle);
    const what = `commit of kernel ${handle.kernelId}`;
    await cancellableSleep(this.#clock, this.#settings.delaysMs.commit, signal, what);
    this.#failures.check('commit', `kernel ${handle.kernelId}`);
    if (this.#find(handle)?.pid !== before.pid) throw isMissing(handle);
    return this.images.add(image.canonical, JSON.stringify([handle, image]));
  }

  async logs(handle: KernelHandle, options: { readonly maxBytes: number }): Promise<Uint8Array> {
    await this.#clock.sleep(this.#settings.delaysMs['get-logs']);
    const container = this.#find(handle);
    const text = container === undefined ? '' : container.log === '' ? LOGS : container.log;
    const bytes = Buffer.from(text);
    return bytes.subarray(Math.max(0, bytes.length - options.maxBytes));
  }

  async #create(plan: KernelPlan, signal: AbortSignal): Promise<KernelHandle> {
    this.#requireOpen();
    const what = `kernel ${plan.kernelId}`;
    const { delaysMs } = this.#settings;
    if (this.#containers.ofKernel(plan.kernelId))
      throw new DummyKernelExistsError(`${what} has a container already: remove it first`);
    if (!(await stat(plan.scratch.work).catch(() => null))?.isDirectory())
      throw new DummyStartError(`${what} has no work directory at ${plan.scratch.work}`);
    await cancellableSleep(this.#clock, creationMs(delaysMs), signal, what);
    this.#failures.check('create', what);
    const handle: KernelHandle = {
      version: 1,
      backend: 'dummy',
      agentId: plan.agentId,
      kernelId: plan.kernelId,
      sessionId: plan.sessionId,
      // Another one for each container of a kernel: the handle of an earlier one must not find it.
      containerId: asContainerId(`dummy-${plan.kernelId}-${randomBytes(4).toString('hex')}`),
      state: {},
    };
    await this.#containers.add({
      handle,
      environment: plan.environment,
      runtimeType: plan.runtimeType,
      details: detailsOf(plan, this.#clock.nowMs()),
      pid: null,
      startedAtSec: 0,
      exit: null,
      log: '',
      hasRunner: true,
    });
    return handle;
  }

  async #start(handle: KernelHandle, signal: AbortSignal): Promise<RunnerEndpoints> {
    this.#requireOpen();
    const container = this.#find(handle);
    if (!container) throw isMissing(handle);
    const what = `kernel ${handle.kernelId}`;
    if (container.pid === null) {
      await cancellableSleep(this.#clock, this.#settings.delaysMs['start-container'], signal, what);
      this.#failures.check('start', what);
      const startedAtSec = this.#clock.monotonicMs() / 1000;
      await this.#containers.start(handle.containerId, startedAtSec, !this.#failures.strikes('runner'));
    } else if (signal.aborted) throw new CancelledError(`${what}: cancelled`);
    const started = this.#find(handle);
    if (!started) throw isMissing(handle);
    return this.#endpointsOf(started);
  }

  async #stop(handle: KernelHandle, graceMs: number): Promise<void> {
    if (this.#find(handle)?.pid == null) return;
    const delayMs = this.#settings.delaysMs['destroy-kernel'];
    const obeys = graceMs > 0 && delayMs <= graceMs;
    await this.#clock.sleep(Math.min(delayMs, graceMs));
    if (obeys) await this.#containers.exit(handle.containerId, 0, 'asked to stop');
    else await this.#containers.exit(handle.containerId, -9, 'killed after the grace time');
    await this.#closeRunner(handle.containerId);
  }

  /** Undefined when it is gone, or is another's. */
  #find({ agentId, kernelId, containerId }: KernelHandle): DummyContainer | undefined {
    const container = this.#containers.find(containerId);
    return container?.handle.agentId === agentId && container.handle.kernelId === kernelId
      ? container
      : undefined;
  }

  async #endpointsOf({ handle, startedAtSec, hasRunner }: DummyContainer): Promise<RunnerEndpoints> {
    if (!this.#settings.usesFakeRunner) return this.#paced(REAL_RUNNER);
    this.#requireOpen();
    const known = this.#runners.get(handle.containerId);
    if (known) return this.#paced((await known).endpoints);
    const serving = this.#serveRunner({
      startedAtSec,
      isSilent: !hasRunner,
      failsRun: () => this.#failures.strikes('execute'),
      delays: runnerDelays(this.#settings.delaysMs),
      sleep: (ms, signal) => this.#clock.sleep(ms, signal),
    });
    this.#runners.set(handle.containerId, serving);
    try {
      return this.#paced((await serving).endpoints);
    } catch (error) {
      this.#runners.delete(handle.containerId);
      throw error;
    }
  }

  #paced(endpoints: RunnerEndpoints): RunnerEndpoints {
    const { 'interrupt-kernel': interrupt, 'shutdown-service': shutdownService } = this.#settings.delaysMs;
    return interrupt + shutdownService === 0
      ? endpoints
      : { ...endpoints, noticesTakeMs: { interrupt, shutdownService } };
  }

  #closeRunner(id: ContainerId): Promise<void> {
    const runner = this.#runners.get(id);
    this.#runners.delete(id);
    return Promise.resolve(runner).then(
      (served) => served?.close(),
      () => undefined,
    );
  }

  #report({ container, exitCode, detail }: DummyExit): void {
    const { handle } = container;
    void this.#closeRunner(handle.containerId);
    for (const listener of [...this.#listeners])
      try {
        listener({ handle, exitCode, oomKilled: false, detail });
      } catch (error) {
        this.#logger.error('a listener to kernel exits failed', {
          agentId: handle.agentId,
          kernelId: handle.kernelId,
          error: messageOf(error),
        });
      }
  }

  #requireOpen(): void {
    if (this.#stopListening === null) throw new DummyUnavailableError('the dummy backend is not open');
  }
}

const runnerDelays = (delaysMs: DummySettings['delaysMs']): DummyRunnerOptions['delays'] => ({
  statusMs: delaysMs['check-status'],
  completionMs: delaysMs['get-completions'],
  startServiceMs: delaysMs['start-service'],
  startModelServiceMs: delaysMs['start-model-service'],
  appsMs: delaysMs['get-service-apps'],
  executeMs: delaysMs.execute,
});

const isMissing = (handle: KernelHandle) =>
  new DummyKernelMissingError(
    `the container of kernel ${handle.kernelId} is not here: it was removed, never created, or has ended`,
  );
