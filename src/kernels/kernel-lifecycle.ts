import type { KernelExit } from '../backends/backend.js';
import type { ContainerId, KernelId, SessionId } from '../core/ids.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import { valuesOf } from './errors.js';
import { BackendSync, type SyncReport } from './lifecycle/backend-sync.js';
import { BackgroundWork } from './lifecycle/background-work.js';
import { CreationBoard } from './lifecycle/creation-board.js';
import { KernelEndings } from './lifecycle/endings.js';
import { ContainerExits } from './lifecycle/exits.js';
import { KernelsInTheMaking } from './lifecycle/in-the-making.js';
import { ManagerSync } from './lifecycle/manager-sync.js';
import { refuseWhenClosing } from './lifecycle/failures.js';
import type { LifecycleParts } from './lifecycle/parts.js';
import { previewKernel } from './lifecycle/preview.js';
import { recoverKernels } from './lifecycle/recovery.js';
import { type KernelRestart, KernelRestarts } from './lifecycle/restarts.js';
import { ModelServices } from './lifecycle/serve-models.js';
import { ALREADY_TERMINATED, announceTermination } from './lifecycle/terminate.js';
import type {
  KernelCreationRequest,
  KernelCreationResult,
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

const USER_REQUESTED = 'user-requested';

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
  readonly #background: BackgroundWork;
  readonly #endings: KernelEndings;
  readonly #models: ModelServices;
  readonly #creations: CreationBoard;
  readonly #restarts: KernelRestarts;
  readonly #backendSync: BackendSync;
  readonly #managerSync: ManagerSync;
  readonly #exits: ContainerExits;
  readonly #closing = new AbortController();
  readonly #stopListening: () => void;
  #recovering: Promise<void> = Promise.resolve();
  #closed: Promise<void> | undefined;

  constructor(parts: LifecycleParts) {
    this.#parts = parts;
    const background = new BackgroundWork(parts);
    const making = new KernelsInTheMaking();
    const base = { parts, queue: this.#queue, background, making, closing: this.#closing.signal };
    const endings = new KernelEndings(base);
    const models = new ModelServices({ ...base, endings });
    const creations = new CreationBoard({ ...base, endings, models });
    const backendSync = new BackendSync({ ...base, creations, endings });
    this.#background = background;
    this.#endings = endings;
    this.#models = models;
    this.#creations = creations;
    this.#restarts = new KernelRestarts({ ...base, endings, models });
    this.#backendSync = backendSync;
    this.#managerSync = new ManagerSync({ ...base, creations, endings });
    this.#exits = new ContainerExits({ ...base, creations, endings, backendSync });
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
    refuseWhenClosing(this.#parts, this.#closing.signal);
    return this.#creations.create(requests, signal);
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
   * A new container for a running kernel, which keeps its resources, ports, owners and files. Restarts of one kernel
   * run one after another; a destroy request beats them. Once begun, a restart goes on when its caller cancels.
   * @throws KeyError for an unknown kernel, ValueError for an update that a restart cannot make, and after a failed
   * restart, which ends the kernel, what a failed creation throws.
   */
  restart(restart: KernelRestart, signal: AbortSignal): Promise<KernelRestartResult> {
    return this.#restarts.restart(restart, signal);
  }

  /**
   * Ends a kernel and resolves once nothing of it is left. A kernel that is being created or restarted is broken
   * off; one that is unknown is announced as `already-terminated`, every time.
   * @throws KernelCleanupError when its container cannot be removed; it is tried again in the background.
   */
  async destroy(destruction: KernelDestruction): Promise<void> {
    const { kernelId, suppressEvents } = destruction;
    const reason = destruction.reason ?? USER_REQUESTED;
    const wasWaiting = this.#creations.withdraw(kernelId);
    const kernel = this.#parts.registry.find(kernelId);
    if (kernel) {
      await this.#endings.order(kernel, { reason, suppressEvents });
      return;
    }
    const ending = this.#endings.current(kernelId);
    if (ending) await this.#queue.passed(kernelId);
    const isAnnounced = ending?.termination?.suppressEvents === false;
    if (!suppressEvents && !isAnnounced)
      await announceTermination(this.#parts, destruction, wasWaiting ? reason : ALREADY_TERMINATED);
  }

  /**
   * Ends all kernels, also those whose creation has not begun; resolves when every end is through.
   * @throws the error of the one kernel that could not be ended, or TaskGroupError when several could not.
   */
  async destroyAll(reason: string): Promise<void> {
    const kernels = new Set([...this.#parts.registry, ...this.#creations.kernels]);
    const outcomes = await Promise.allSettled(
      [...kernels].map(({ id: kernelId, sessionId }) =>
        this.destroy({ kernelId, sessionId, reason, suppressEvents: false }),
      ),
    );
    valuesOf(outcomes, 'kernels could not be ended');
  }

  /** A container of this agent ended by itself, or did it? Late reports about an earlier container are told apart. */
  handleExit(exit: KernelExit): void {
    const { agentId, kernelId } = exit.handle;
    if (agentId !== this.#parts.agentId) return;
    const work = async () => {
      // Until the journal is read every container looks like a stranger.
      await this.#recovering.catch(() => undefined);
      await this.#exits.handle(exit);
    };
    this.#background.begin('cannot handle the exit of a container', work, { kernelId });
  }

  /**
   * Compares with what the manager has (spec/rpc-functions.md 3.6): its kernels that are not here are announced as
   * terminated; ours that it does not list are ended silently, without waiting. Kernels being created are left alone.
   */
  sync(known: readonly { readonly kernelId: KernelId; readonly sessionId: SessionId }[]): Promise<void> {
    return this.#managerSync.compare(known);
  }

  /**
   * One comparison of containers and registry (see BackendSync). To be repeated once `recover` is through.
   * @throws when the backend cannot list its containers.
   */
  async compareWithBackend(): Promise<SyncReport> {
    await this.#recovering.catch(() => undefined);
    return this.#closed ? { ended: [], activeContainers: 0 } : this.#backendSync.round();
  }

  /**
   * Removes containers that the manager takes for stray, in the background and without events. A registered kernel is
   * ended with its container, so that nothing it holds is lost.
   */
  purge(
    containers: readonly { readonly containerId: ContainerId; readonly kernelId: KernelId }[],
  ): Promise<void> {
    this.#managerSync.purge(containers);
    return Promise.resolve();
  }

  /**
   * Drops kernels that the manager does not know any more, in the background and without events. The original only
   * forgets them; here their containers go too, as nothing else would ever end them.
   */
  drop(kernelIds: readonly KernelId[]): Promise<void> {
    this.#managerSync.drop(kernelIds);
    return Promise.resolve();
  }

  /** Also true for a kernel that exists already, whatever its state (spec/rpc-functions.md 3.6). */
  isCreating(kernelId: KernelId): boolean {
    return this.#creations.isCreating(kernelId);
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
    while (!this.#background.isIdle || this.#queue.size > 0) {
      await this.#background.settled();
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
    this.#creations.breakOffAll();
    await this.#models.close();
    await this.whenIdle();
  }
}
