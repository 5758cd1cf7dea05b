import { messageOf } from '../../core/errors.js';
import type { KernelId } from '../../core/ids.js';
import { ErrorReports } from '../../events/error-reports.js';
import type { KeyedQueue } from '../../core/keyed-queue.js';
import type { Counter } from '../../core/metrics.js';
import type { Kernel, TerminationWish } from '../kernel.js';
import type { BackgroundWork } from './background-work.js';
import { creationFailure, type Interruption } from './failures.js';
import type { KernelsInTheMaking } from './in-the-making.js';
import type { LifecycleParts } from './parts.js';
import type { CreationProgress } from './progress.js';
import { endKernel } from './terminate.js';
import { TIME_LIMITS } from './time-limits.js';

interface KernelEndingsParts {
  readonly parts: LifecycleParts;
  readonly queue: KeyedQueue<KernelId>;
  readonly making: KernelsInTheMaking;
  readonly background: BackgroundWork;
  /** Aborts when the agent stops: no retry begins after that. */
  readonly closing: AbortSignal;
}

/** How a creation or restart has failed. */
interface FailedWork {
  /** For the log. */
  readonly message: string;
  /** Of the kernel's end. */
  readonly reason: string;
  readonly error: unknown;
}

/** Ends the kernels of one agent, however many attempts it takes. */
export class KernelEndings {
  readonly #parts: LifecycleParts;
  readonly #queue: KeyedQueue<KernelId>;
  readonly #making: KernelsInTheMaking;
  readonly #background: BackgroundWork;
  readonly #closing: AbortSignal;
  readonly #requested = new Map<Kernel, Promise<void>>();
  readonly #current = new Map<KernelId, Kernel>();
  /** Kernels whose end failed -> attempts so far. */
  readonly #failed = new Map<Kernel, number>();
  readonly #failures: Counter;
  readonly #errors: ErrorReports;

  constructor({ parts, queue, making, background, closing }: KernelEndingsParts) {
    this.#parts = parts;
    this.#queue = queue;
    this.#making = making;
    this.#background = background;
    this.#closing = closing;
    this.#errors = new ErrorReports(parts);
    this.#failures = parts.metrics.counter({
      name: 'splenium_kernel_cleanup_failures_total',
      help: 'Attempts to end a kernel that left its container behind; each is tried again.',
      labels: ['agent'],
    });
  }

  /**
   * Marks the kernel as ending, breaks off what is being made of it, and ends it after what its queue holds already.
   * @throws as `end`.
   */
  order(
    kernel: Kernel,
    wish: TerminationWish,
    interruption: Interruption = { kind: 'destroyed' },
  ): Promise<void> {
    kernel.terminate(wish);
    this.#making.breakOff(kernel, interruption);
    return this.#request(kernel);
  }

  /** As `order`, for nobody who waits. `failure` says what did not work, should it not. */
  begin(kernel: Kernel, wish: TerminationWish, failure: string): void {
    this.#background.begin(failure, () => this.order(kernel, wish), { kernelId: kernel.id });
  }

  /** The kernel of this id that is being ended right now; for a moment at the end it is in no registry any more. */
  current(kernelId: KernelId): Kernel | undefined {
    return this.#current.get(kernelId);
  }

  /**
   * Ends what there is of a kernel whose creation or restart has failed; for the job that did it. Returns what its
   * callers are told. An end that fails goes on in the background.
   */
  async endFailed(progress: CreationProgress, { message, reason, error }: FailedWork): Promise<unknown> {
    const { kernel, step, announced } = progress;
    const failure = creationFailure(progress, error);
    // The reason counts only if nobody who broke it off has given another.
    kernel.terminate(announced ? { reason } : { reason, suppressEvents: true });
    this.#parts.logger.warn(message, { kernelId: kernel.id, step, error: messageOf(failure) });
    await this.end(kernel).catch(() => undefined);
    return failure;
  }

  /**
   * Ends a kernel that is marked as ending; for work that runs in its queue already.
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

  /** Joined by all who ask. */
  #request(kernel: Kernel): Promise<void> {
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

  #retryLater(kernel: Kernel): void {
    const attempts = this.#failed.get(kernel) ?? 0;
    this.#failed.set(kernel, attempts + 1);
    const pauseMs = Math.min(TIME_LIMITS.retryFirstMs * 2 ** attempts, TIME_LIMITS.retryLastMs);
    this.#parts.clock.sleep(pauseMs, this.#closing).then(
      // The attempt logs and plans the next one by itself.
      () => this.#request(kernel).catch(() => undefined),
      () => undefined,
    );
  }
}

const endingOf = ({ id }: Kernel): string => `kernel ${id} could not be ended; it is tried again`;
