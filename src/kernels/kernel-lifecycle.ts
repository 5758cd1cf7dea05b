import type { KernelExit, KernelHandle } from '../backends/backend.js';
import { within } from '../core/async.js';
import { isSpleniumError, messageOf, RuntimeError } from '../core/errors.js';
import type { ContainerId, KernelId, SessionId } from '../core/ids.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { LogFields } from '../core/logger.js';
import type { Counter } from '../core/metrics.js';
import { KernelCreationCancelledError, TaskGroupError } from './errors.js';
import { ErrorReports } from '../events/error-reports.js';
import { Kernel } from './kernel.js';
import { LifecycleSync, type SyncReport } from './lifecycle-sync.js';
import { createKernel } from './lifecycle/create.js';
import { Creation } from './lifecycle/creations.js';
import { KernelEndings } from './lifecycle/endings.js';
import {
  creationFailure,
  failureReason,
  type Interruption,
  interruptionError,
} from './lifecycle/failures.js';
import type { LifecycleParts } from './lifecycle/parts.js';
import { previewKernel } from './lifecycle/preview.js';
import { CreationProgress } from './lifecycle/progress.js';
import { recoverKernels } from './lifecycle/recovery.js';
import { restartFailureReason, restartKernel, updatedRequest } from './lifecycle/restart.js';
import { ModelServices } from './lifecycle/serve-models.js';
import { StepWatch } from './lifecycle/step-watch.js';
import { announceTermination, removeStray } from './lifecycle/terminate.js';
import { TIME_LIMITS } from './lifecycle/time-limits.js';
import type {
  KernelCreationRequest,
  KernelCreationResult,
  KernelImageRef,
  KernelPreview,
  KernelRestartResult,
} from './requests.js';

export interface KernelDestruction {
  readonly kernelId: KernelId;
  readonly sessionId: SessionId;
  /** Null: `user-requested`. */
  readonly reason: string | null;
  readonly suppressEvents: boolean;
}

export interface KernelRestart {
  readonly sessionId: SessionId;
  readonly kernelId: KernelId;
  readonly imageRef: KernelImageRef;
  readonly updatedConfig: Readonly<Record<string, unknown>>;
}

const USER_REQUESTED = 'user-requested';
const ALREADY_TERMINATED = 'already-terminated';
const SELF_TERMINATED = 'self-terminated';
const NOT_FOUND_IN_MANAGER = 'not-found-in-manager';

/**
 * Creates, restarts and ends the kernels of one agent and brings them back after a restart of the daemon
 * (spec/kernel-lifecycle.md). All work on one kernel runs through its own queue; no lock spans the agent.
 *
 * Whatever happens, a kernel that was announced is announced as terminated exactly once, and what it held goes back
 * when its container is gone.
 */
export class KernelLifecycle {
  readonly #parts: LifecycleParts;
  readonly #queue = new KeyedQueue<KernelId>();
  readonly #creations = new Map<KernelId, Creation>();
  readonly #restarts = new Map<KernelId, AbortController>();
  readonly #endings: KernelEndings;
  readonly #errors: ErrorReports;
  /** Kernels destroyed while being created -> when; see `#wasBrokenOff`. */
  readonly #brokenOff = new Map<KernelId, number>();
  readonly #background = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  readonly #stopListening: () => void;
  readonly #creationCount: Counter;
  readonly #sync: LifecycleSync;
  readonly #models: ModelServices;
  #recovering: Promise<void> = Promise.resolve();
  #closed: Promise<void> | undefined;

  constructor(parts: LifecycleParts) {
    this.#parts = parts;
    this.#endings = new KernelEndings(parts, this.#queue, this.#closing.signal);
    this.#errors = new ErrorReports(parts);
    this.#creationCount = parts.metrics.counter({
      name: 'splenium_kernel_creations_total',
      help: 'Kernel creations by outcome.',
      labels: ['agent', 'outcome'],
    });
    this.#sync = new LifecycleSync({
      parts,
      queue: this.#queue,
      isCreating: (kernelId) => this.isCreating(kernelId),
      endKernel: (kernel, { reason, exitCode }) => {
        kernel.terminate({ reason, exitCode });
        this.#inBackground(
          'cannot end a kernel whose container is gone',
          () => this.#endings.request(kernel),
          { kernelId: kernel.id },
        );
      },
      inBackground: (failure, work, fields) => {
        this.#inBackground(failure, work, fields);
      },
    });
    this.#models = new ModelServices({
      parts,
      endKernel: (kernel, reason) => {
        kernel.terminate({ reason });
        this.#inBackground('cannot end a kernel without its model', () => this.#endings.request(kernel), {
          kernelId: kernel.id,
        });
      },
      signal: this.#closing.signal,
    });
    this.#stopListening = parts.backend.onExit((exit) => {
      this.handleExit(exit);
    });
  }

  /**
   * Creates the kernels of one call, a few at a time, and waits for all of them. Idempotent by kernel id: a repeat
   * joins the running creation or returns what the first one made. Kernels that succeeded stay when others fail.
   * @throws the error of the one kernel that failed, or TaskGroupError when several did.
   */
  async create(
    requests: readonly KernelCreationRequest[],
    signal: AbortSignal,
  ): Promise<readonly KernelCreationResult[]> {
    this.#refuseWhenClosed();
    // Entered at once, so that a destroy request finds also those that have to wait for their turn (9.1 C3).
    const started: Creation[] = [];
    const waits = requests.map((request) => this.#admit(request, signal, started));
    const turns = started.values();
    for (let place = 0; place < Math.max(1, this.#parts.settings.creationConcurrency); place += 1)
      // Not awaited: a caller that leaves must not wait for creations that others have joined.
      this.#inBackground('a creation broke the order of its steps', async () => {
        for (const creation of turns) await this.#run(creation);
      });
    const outcomes = await Promise.allSettled(waits);
    throwFailures(outcomes, 'agent.create_kernels() failed');
    return outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  }

  /** What creations of these requests would ask of the backend, one after another; see `previewKernel`. */
  async preview(
    requests: readonly KernelCreationRequest[],
    options: { readonly showSecrets: boolean },
  ): Promise<readonly KernelPreview[]> {
    const previews: KernelPreview[] = [];
    for (const request of requests) previews.push(await previewKernel(this.#parts, request, options));
    return previews;
  }

  /**
   * Ends a kernel and resolves once nothing of it is left. A kernel that is being created or restarted is broken
   * off; one that is unknown is announced as `already-terminated`, every time.
   * @throws KernelCleanupError when its container cannot be removed; it is tried again in the background.
   */
  async destroy(destruction: KernelDestruction): Promise<void> {
    const { kernelId, suppressEvents } = destruction;
    const reason = destruction.reason ?? USER_REQUESTED;
    const creation = this.#creations.get(kernelId);
    if (creation) this.#rememberBrokenOff(kernelId);
    const isWaiting = creation?.started === false;
    if (isWaiting) {
      // Nothing exists of it yet; whoever ends what is registered under its id speaks for it too.
      this.#settle(creation);
      creation.breakOff(interruptionError({ kind: 'destroyed' }));
      creation.fail(creationFailure(creation.kernel, 'accepted', interruptionError({ kind: 'destroyed' })));
    }
    const kernel = this.#parts.registry.find(kernelId);
    if (kernel) {
      kernel.terminate({ reason, suppressEvents });
      this.#interrupt(kernel, { kind: 'destroyed' });
      await this.#endings.request(kernel);
      return;
    }
    const ending = this.#endings.current(kernelId);
    if (ending) await this.#queue.run(kernelId, () => Promise.resolve());
    const isAnnounced = ending?.termination?.suppressEvents === false;
    if (!suppressEvents && !isAnnounced)
      await announceTermination(this.#parts, destruction, isWaiting ? reason : ALREADY_TERMINATED);
  }

  /**
   * Ends all kernels, also those whose creation has not begun; resolves when every end is through.
   * @throws the error of the one kernel that could not be ended, or TaskGroupError when several could not.
   */
  async destroyAll(reason: string): Promise<void> {
    const kernels = new Set([
      ...this.#parts.registry,
      ...[...this.#creations.values()].map(({ kernel }) => kernel),
    ]);
    const outcomes = await Promise.allSettled(
      [...kernels].map(({ id: kernelId, sessionId }) =>
        this.destroy({ kernelId, sessionId, reason, suppressEvents: false }),
      ),
    );
    throwFailures(outcomes, 'kernels could not be ended');
  }

  /**
   * A new container for a running kernel, which keeps its resources, ports, owners and files. Restarts of one kernel
   * run one after another; a destroy request beats them. Once begun, a restart goes on when its caller cancels.
   * @throws KeyError for an unknown kernel, ValueError for an update that a restart cannot make, and after a failed
   * restart, which ends the kernel, what a failed creation throws.
   */
  restart(restart: KernelRestart, signal: AbortSignal): Promise<KernelRestartResult> {
    const { kernelId } = restart;
    return within(
      this.#queue.run(kernelId, () => this.#runRestart(restart, signal)),
      { signal, what: `restart of kernel ${kernelId}` },
    );
  }

  /** A container of this agent ended by itself, or did it? Late reports about an earlier container are told apart. */
  handleExit(exit: KernelExit): void {
    const { handle } = exit;
    if (handle.agentId !== this.#parts.agentId) return;
    this.#inBackground('cannot handle the exit of a container', () => this.#onExit(exit), {
      kernelId: handle.kernelId,
    });
  }

  /**
   * Compares with what the manager has (spec/rpc-functions.md 3.6): its kernels that are not here are announced as
   * terminated; ours that it does not list are ended silently, without waiting. Kernels being created are left alone.
   */
  async sync(
    known: readonly { readonly kernelId: KernelId; readonly sessionId: SessionId }[],
  ): Promise<void> {
    const listed = new Set(known.map(({ kernelId }) => kernelId));
    for (const kernel of this.#parts.registry)
      if (!listed.has(kernel.id) && !this.#creations.has(kernel.id)) this.#endUnknownToManager(kernel);
    for (const pair of known)
      if (!this.isCreating(pair.kernelId)) await announceTermination(this.#parts, pair, ALREADY_TERMINATED);
  }

  /**
   * One comparison of containers and registry (see LifecycleSync). To be repeated once `recover` is through.
   * @throws when the backend cannot list its containers.
   */
  async compareWithBackend(): Promise<SyncReport> {
    await this.#recovering.catch(() => undefined);
    return this.#closed ? { ended: [], activeContainers: 0 } : this.#sync.round();
  }

  /**
   * Removes containers that the manager takes for stray, in the background and without events. A registered kernel is
   * ended with its container, so that nothing it holds is lost.
   */
  purge(
    containers: readonly { readonly containerId: ContainerId; readonly kernelId: KernelId }[],
  ): Promise<void> {
    for (const { containerId, kernelId } of containers)
      this.#inBackground('cannot purge a container', () => this.#purgeOne(containerId, kernelId), {
        kernelId,
      });
    return Promise.resolve();
  }

  /**
   * Drops kernels that the manager does not know any more, in the background and without events. The original only
   * forgets them; here their containers go too, as nothing else would ever end them.
   */
  drop(kernelIds: readonly KernelId[]): Promise<void> {
    for (const kernelId of kernelIds) {
      const kernel = this.#parts.registry.find(kernelId);
      if (kernel) this.#endUnknownToManager(kernel);
      else this.#parts.logger.warn('kernel to drop is not here', { kernelId });
    }
    return Promise.resolve();
  }

  /** Also true for a kernel that exists already, whatever its state (spec/rpc-functions.md 3.6). */
  isCreating(kernelId: KernelId): boolean {
    return this.#creations.has(kernelId) || this.#parts.registry.has(kernelId);
  }

  /**
   * Takes over what an earlier run of the daemon left: running kernels are attached, half-made ones and those that
   * were ending are cleaned up and announced, own containers without a record are removed and announced. To be
   * called before the RPC socket opens. One kernel's trouble never stops the others.
   * @throws when the journal or the backend cannot be read at all.
   */
  recover(): Promise<void> {
    this.#recovering = recoverKernels(this.#parts, this.#queue, this.#endings).then(() => {
      this.#models.resume();
    });
    this.#recovering.catch(() => undefined);
    return this.#recovering;
  }

  /** Resolves when nothing is under way, retries of failed ends excepted. */
  async whenIdle(): Promise<void> {
    while (this.#background.size > 0 || this.#queue.size > 0) {
      await Promise.all(this.#background);
      await this.#queue.idle();
    }
    await this.#parts.journal.idle();
  }

  /** Breaks off creations, which clean up, and stops retries. Running kernels go on. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    this.#stopListening();
    for (const creation of this.#creations.values()) this.#interrupt(creation.kernel, { kind: 'closed' });
    await this.#models.close();
    await this.whenIdle();
  }

  #refuseWhenClosed(): void {
    if (this.#closed)
      throw new RuntimeError(`agent ${this.#parts.agentId} is shutting down and takes no new kernels`);
  }

  // Creation

  #admit(
    request: KernelCreationRequest,
    signal: AbortSignal,
    started: Creation[],
  ): Promise<KernelCreationResult> {
    const { kernelId } = request;
    const running = this.#creations.get(kernelId);
    if (running && !running.isBrokenOff) return running.wait(signal);
    const kernel = this.#parts.registry.find(kernelId);
    if (kernel && !kernel.termination) {
      if (kernel.state.name === 'running' && kernel.result) return Promise.resolve(kernel.result);
      if (kernel.state.name === 'restarting') return this.#resultAfterRestart(kernel, signal);
    }
    if (this.#wasBrokenOff(kernelId))
      return Promise.reject(
        new KernelCreationCancelledError(
          `kernel ${kernelId} was destroyed while it was being created; this repeat of its creation is refused`,
        ),
      );
    const creation = new Creation(Kernel.requested(this.#parts.agentId, request, this.#parts.clock.nowMs()));
    this.#creations.set(kernelId, creation);
    started.push(creation);
    return creation.wait(signal);
  }

  async #resultAfterRestart(kernel: Kernel, signal: AbortSignal): Promise<KernelCreationResult> {
    await within(
      this.#queue.run(kernel.id, () => Promise.resolve()),
      { signal, what: `waiting for the restart of kernel ${kernel.id}` },
    );
    if (kernel.state.name === 'running' && kernel.result) return kernel.result;
    throw new KernelCreationCancelledError(`kernel ${kernel.id} ended while it was being restarted`);
  }

  #run(creation: Creation): Promise<void> {
    const { kernel, progress } = creation;
    return this.#queue.run(kernel.id, async () => {
      // Broken off before its turn: nothing exists of it, and whoever did it has said so.
      if (creation.isBrokenOff) {
        this.#settle(creation);
        creation.fail(creationFailure(kernel, 'accepted', progress.signal.reason));
        return;
      }
      creation.started = true;
      try {
        this.#parts.registry.add(kernel);
      } catch (error) {
        this.#settle(creation);
        creation.fail(error);
        return;
      }
      const watch = new StepWatch(this.#parts);
      try {
        progress.measure(watch);
        const result = await createKernel(this.#parts, progress);
        watch.end();
        this.#settle(creation);
        this.#count('created');
        creation.succeed(result);
        this.#models.start(kernel);
      } catch (error) {
        watch.end();
        const cause: unknown = progress.signal.aborted ? progress.signal.reason : error;
        const failure = creationFailure(kernel, progress.step, cause);
        // Only if nobody who broke it off has said otherwise.
        const reason = failureReason(progress.step);
        kernel.terminate(progress.announced ? { reason } : { reason, suppressEvents: true });
        this.#parts.logger.warn('kernel creation failed', {
          kernelId: kernel.id,
          step: progress.step,
          error: messageOf(failure),
        });
        await this.#endings.end(kernel).catch(() => undefined);
        this.#settle(creation);
        this.#count(isSpleniumError(failure, 'CANCELLED') ? 'cancelled' : 'failed');
        creation.fail(failure);
      }
    });
  }

  #settle(creation: Creation): void {
    const { id } = creation.kernel;
    if (this.#creations.get(id) === creation) this.#creations.delete(id);
  }

  #count(outcome: 'created' | 'failed' | 'cancelled'): void {
    this.#creationCount.increment({ agent: this.#parts.agentId, outcome });
  }

  /**
   * The 25.17 manager sends any failing call again, also the creation that its own destroy request has just broken
   * off (spec/rpc-functions.md 1.7). Such a repeat would make a kernel that nobody wants any more.
   */
  #rememberBrokenOff(kernelId: KernelId): void {
    const now = this.#parts.clock.monotonicMs();
    for (const [id, since] of this.#brokenOff)
      if (now - since > TIME_LIMITS.repeatRefusalMs) this.#brokenOff.delete(id);
    this.#brokenOff.set(kernelId, now);
  }

  #wasBrokenOff(kernelId: KernelId): boolean {
    const since = this.#brokenOff.get(kernelId);
    return since !== undefined && this.#parts.clock.monotonicMs() - since <= TIME_LIMITS.repeatRefusalMs;
  }

  // Restart

  async #runRestart(restart: KernelRestart, signal: AbortSignal): Promise<KernelRestartResult> {
    this.#refuseWhenClosed();
    signal.throwIfAborted();
    const kernel = this.#parts.registry.get(restart.kernelId);
    if (kernel.state.name !== 'running')
      throw new RuntimeError(
        `kernel ${kernel.id} is ${kernel.state.name}: only a running kernel can be restarted`,
      );
    const request = updatedRequest(kernel.request, restart.imageRef, restart.updatedConfig);
    const abort = new AbortController();
    const progress = new CreationProgress(kernel, abort.signal);
    const watch = new StepWatch(this.#parts);
    this.#restarts.set(kernel.id, abort);
    try {
      progress.measure(watch);
      const result = await restartKernel(this.#parts, progress, request);
      this.#models.start(kernel);
      return result;
    } catch (error) {
      watch.end();
      const cause: unknown = abort.signal.aborted ? abort.signal.reason : error;
      const failure = creationFailure(kernel, progress.step, cause);
      kernel.terminate({ reason: restartFailureReason(progress.step) });
      this.#parts.logger.warn('kernel restart failed', {
        kernelId: kernel.id,
        step: progress.step,
        error: messageOf(failure),
      });
      await this.#endings.end(kernel).catch(() => undefined);
      throw failure;
    } finally {
      watch.end();
      this.#restarts.delete(kernel.id);
    }
  }

  // The end of a kernel

  /** Breaks off what is being made of the kernel, if anything. */
  #interrupt(kernel: Kernel, interruption: Interruption): void {
    const creation = this.#creations.get(kernel.id);
    if (creation?.kernel === kernel) creation.breakOff(interruptionError(interruption));
    this.#restarts.get(kernel.id)?.abort(interruptionError(interruption));
  }

  #endUnknownToManager(kernel: Kernel): void {
    kernel.terminate({ reason: NOT_FOUND_IN_MANAGER, suppressEvents: true });
    this.#interrupt(kernel, { kind: 'destroyed' });
    this.#inBackground(
      'cannot end a kernel that the manager does not know',
      () => this.#endings.request(kernel),
      {
        kernelId: kernel.id,
      },
    );
  }

  async #purgeOne(containerId: ContainerId, kernelId: KernelId): Promise<void> {
    const kernel = this.#parts.registry.find(kernelId);
    if (kernel?.containerId === containerId) {
      this.#endUnknownToManager(kernel);
      return;
    }
    const handles = await this.#parts.backend.list(this.#parts.agentId);
    const handle = handles.find((one) => one.containerId === containerId && one.kernelId === kernelId);
    if (handle) await this.#queue.run(kernelId, () => removeStray(this.#parts, handle));
  }

  async #onExit(exit: KernelExit): Promise<void> {
    const { handle } = exit;
    // Until the journal is read every container looks like a stranger.
    await this.#recovering.catch(() => undefined);
    const kernel = this.#parts.registry.find(handle.kernelId);
    if (kernel?.handle?.containerId === handle.containerId) {
      // Asked about the container of now: a backend may give a kernel's next container the id of the last one.
      const { handle: current } = kernel;
      if (isExitExpected(kernel) || (await this.#isStillRunning(current))) return;
      // The question took time: the kernel may have gone its way meanwhile.
      if (kernel.handle !== current || isExitExpected(kernel)) return;
      const { exitCode, oomKilled, detail } = exit;
      this.#parts.logger.warn(
        oomKilled ? 'a kernel has ended for lack of memory' : 'a kernel has ended by itself',
        { kernelId: kernel.id, exitCode, detail },
      );
      kernel.terminate({ reason: SELF_TERMINATED, exitCode });
      this.#interrupt(kernel, { kind: 'exited', detail: exit.detail });
      await this.#endings.request(kernel);
      return;
    }
    // A container that nobody will ask for again (9.2 D12), unless a new one of the same kernel has taken its id.
    await this.#queue.run(handle.kernelId, async () => {
      const { registry, backend } = this.#parts;
      if (registry.find(handle.kernelId)?.containerId === handle.containerId) return;
      if (await this.#isStillRunning(handle)) return;
      // Still there: nobody has said yet that its kernel is gone. An earlier container of a kernel just goes.
      if (this.isCreating(handle.kernelId)) await backend.remove(handle);
      else await this.#sync.endStray(handle.kernelId, [handle]);
    });
  }

  async #isStillRunning(handle: KernelHandle): Promise<boolean> {
    try {
      const { status } = await within(this.#parts.backend.inspect(handle), {
        timeoutMs: TIME_LIMITS.inspectMs,
        what: `inspecting container ${handle.containerId}`,
      });
      return status === 'running';
    } catch {
      return false;
    }
  }

  #inBackground(failure: string, work: () => Promise<void>, fields: LogFields = {}): void {
    const task = work()
      .then(() => {
        this.#errors.note(failure, null);
      })
      .catch((error: unknown) => {
        this.#parts.logger.error(failure, { ...fields, error: messageOf(error) });
        this.#errors.note(failure, messageOf(error));
      })
      .finally(() => {
        this.#background.delete(task);
      });
    this.#background.add(task);
  }
}

function throwFailures(outcomes: readonly PromiseSettledResult<unknown>[], message: string): void {
  const errors = outcomes.flatMap((outcome) =>
    outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
  );
  if (errors.length > 1) throw new TaskGroupError(message, errors);
  if (errors.length === 1) throw errors[0];
}

/** The agent itself is ending this container. */
function isExitExpected(kernel: Kernel): boolean {
  return (
    kernel.termination !== null ||
    (kernel.state.name === 'restarting' &&
      (kernel.state.step === 'accepted' || kernel.state.step === 'stopping-container'))
  );
}
