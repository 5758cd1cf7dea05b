import { messageOf } from '../../core/errors.js';
import type { KernelId } from '../../core/ids.js';
import { ErrorReports } from '../../events/error-reports.js';
import type { KeyedQueue } from '../../core/keyed-queue.js';
import type { Counter } from '../../core/metrics.js';
import type { Kernel } from '../kernel.js';
import type { LifecycleParts } from './parts.js';
import { endKernel } from './terminate.js';
import { TIME_LIMITS } from './time-limits.js';

/** Ends the kernels of one agent that are marked as terminating, however often it takes. */
export class KernelEndings {
  readonly #parts: LifecycleParts;
  readonly #queue: KeyedQueue<KernelId>;
  /** Aborts when the agent stops: no retry begins after that. */
  readonly #closing: AbortSignal;
  readonly #requested = new Map<Kernel, Promise<void>>();
  readonly #current = new Map<KernelId, Kernel>();
  /** Kernels whose end failed -> attempts so far. */
  readonly #failed = new Map<Kernel, number>();
  readonly #failures: Counter;
  readonly #errors: ErrorReports;

  constructor(parts: LifecycleParts, queue: KeyedQueue<KernelId>, closing: AbortSignal) {
    this.#parts = parts;
    this.#queue = queue;
    this.#closing = closing;
    this.#errors = new ErrorReports(parts);
    this.#failures = parts.metrics.counter({
      name: 'splenium_kernel_cleanup_failures_total',
      help: 'Attempts to end a kernel that left its container behind; each is tried again.',
      labels: ['agent'],
    });
  }

  /** Ends the kernel after what its queue holds already. Joined by all who ask. @throws as `end`. */
  request(kernel: Kernel): Promise<void> {
    const running = this.#requested.get(kernel);
    if (running) return running;
    const ending = this.#queue
      .run(kernel.id, async () => {
        if (this.#parts.registry.find(kernel.id) === kernel) await this.end(kernel);
      })
      .finally(() => {
        this.#requested.delete(kernel);
      });
    this.#requested.set(kernel, ending);
    return ending;
  }

  /** The kernel of this id that is being ended right now; for a moment at the end it is in no registry any more. */
  current(kernelId: KernelId): Kernel | undefined {
    return this.#current.get(kernelId);
  }

  /**
   * For work that runs in the kernel's queue already.
   * @throws KernelCleanupError; then it is tried again in the background until it works.
   */
  async end(kernel: Kernel): Promise<void> {
    this.#current.set(kernel.id, kernel);
    try {
      await endKernel(this.#parts, kernel);
      if (this.#failed.delete(kernel)) this.#errors.note(endingOf(kernel), null);
    } catch (error) {
      this.#failures.increment({ agent: this.#parts.agentId });
      this.#parts.logger.error('kernel could not be ended; it is tried again', {
        kernelId: kernel.id,
        error: messageOf(error),
      });
      this.#errors.note(endingOf(kernel), messageOf(error));
      this.#retryLater(kernel);
      throw error;
    } finally {
      this.#current.delete(kernel.id);
    }
  }

  #retryLater(kernel: Kernel): void {
    const attempts = this.#failed.get(kernel) ?? 0;
    this.#failed.set(kernel, attempts + 1);
    const pauseMs = Math.min(TIME_LIMITS.retryFirstMs * 2 ** attempts, TIME_LIMITS.retryLastMs);
    this.#parts.clock.sleep(pauseMs, this.#closing).then(
      // The attempt logs and plans the next one by itself.
      () => this.request(kernel).catch(() => undefined),
      () => undefined,
    );
  }
}

const endingOf = ({ id }: Kernel): string => `kernel ${id} could not be ended; it is tried again`;
