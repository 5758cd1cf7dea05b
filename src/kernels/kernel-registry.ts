import { InvariantError, KeyError } from '../core/errors.js';
import type { AgentId, ContainerId, KernelId, SessionId } from '../core/ids.js';
import { messageOf } from '../core/errors.js';
import { type Logger, silentLogger } from '../core/logger.js';
import type { Kernel } from './kernel.js';

export interface KernelRegistryChange {
  readonly type: 'added' | 'changed' | 'removed';
  readonly kernel: Kernel;
}

/** The kernels of one agent, from the acceptance of a creation to the end of its clean-up. */
export class KernelRegistry implements Iterable<Kernel> {
  readonly agentId: AgentId;
  readonly #logger: Logger;
  readonly #kernels = new Map<KernelId, { readonly kernel: Kernel; readonly forget: () => void }>();
  readonly #bySession = new Map<SessionId, Set<Kernel>>();
  readonly #listeners = new Set<(change: KernelRegistryChange) => void>();
  readonly #guards = new Set<(kernel: Kernel) => void>();

  constructor(agentId: AgentId, logger: Logger = silentLogger) {
    this.agentId = agentId;
    this.#logger = logger;
  }

  get size(): number {
    return this.#kernels.size;
  }

  /** @throws KeyError with the id as its message. */
  get(kernelId: KernelId): Kernel {
    const kernel = this.find(kernelId);
    if (!kernel) throw new KeyError(kernelId);
    return kernel;
  }

  find(kernelId: KernelId): Kernel | undefined {
    return this.#kernels.get(kernelId)?.kernel;
  }

  has(kernelId: KernelId): boolean {
    return this.#kernels.has(kernelId);
  }

  findByContainer(containerId: ContainerId): Kernel | undefined {
    for (const kernel of this) if (kernel.containerId === containerId) return kernel;
    return undefined;
  }

  bySession(sessionId: SessionId): readonly Kernel[] {
    return [...(this.#bySession.get(sessionId) ?? [])];
  }

  /** In the order in which they were added. Adding or removing while iterating is fine. */
  *[Symbol.iterator](): IterableIterator<Kernel> {
    for (const { kernel } of this.#kernels.values()) yield kernel;
  }

  /**
   * @throws InvariantError for a kernel of another agent or an id that is here already;
   * DuplicateKernelIdError when a sibling agent has the id (see AggregateKernelRegistry).
   */
  add(kernel: Kernel): void {
    if (kernel.agentId !== this.agentId)
      throw new InvariantError(
        `kernel ${kernel.id} belongs to agent ${kernel.agentId}, not to ${this.agentId}`,
      );
    if (this.#kernels.has(kernel.id))
      throw new InvariantError(`agent ${this.agentId} already has kernel ${kernel.id}`);
    for (const guard of this.#guards) guard(kernel);
    const forget = kernel.observe(() => {
      this.#notify({ type: 'changed', kernel });
    });
    this.#kernels.set(kernel.id, { kernel, forget });
    const siblings = this.#bySession.get(kernel.sessionId);
    if (siblings) siblings.add(kernel);
    else this.#bySession.set(kernel.sessionId, new Set([kernel]));
    this.#notify({ type: 'added', kernel });
  }

  /** Idempotent. Returns the kernel that was removed. */
  remove(kernelId: KernelId): Kernel | undefined {
    const entry = this.#kernels.get(kernelId);
    if (!entry) return undefined;
    const { kernel, forget } = entry;
    forget();
    this.#kernels.delete(kernelId);
    const siblings = this.#bySession.get(kernel.sessionId);
    siblings?.delete(kernel);
    if (siblings?.size === 0) this.#bySession.delete(kernel.sessionId);
    this.#notify({ type: 'removed', kernel });
    return kernel;
  }

  /** Returns an unsubscribe function. A listener that throws is logged and disturbs nobody. */
  onChange(listener: (change: KernelRegistryChange) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Asks the guard before each addition; it refuses by throwing. Returns a function that takes it away. */
  guard(guard: (kernel: Kernel) => void): () => void {
    this.#guards.add(guard);
    return () => {
      this.#guards.delete(guard);
    };
  }

  #notify(change: KernelRegistryChange): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(change);
      } catch (error) {
        this.#logger.error('kernel registry listener failed', {
          kernelId: change.kernel.id,
          change: change.type,
          error: messageOf(error),
        });
      }
    }
  }
}
