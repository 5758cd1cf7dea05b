import { type Deferred, deferred } from '../../core/async.js';
import { CancelledError } from '../../core/errors.js';
import type { Kernel } from '../kernel.js';
import type { KernelCreationResult } from '../requests.js';
import { CreationProgress } from './progress.js';

/**
 * One running creation and everybody who waits for it. A repeat of the call joins; the creation is broken off by
 * cancellation only when nobody waits any more.
 */
export class Creation {
  readonly kernel: Kernel;
  readonly progress: CreationProgress;
  /** Work has begun: from here on the creation itself cleans up after a failure. */
  hasBegun = false;
  readonly #outcome: Deferred<KernelCreationResult> = deferred();
  #waiters = 0;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
    this.progress = CreationProgress.ofCreation(kernel);
  }

  succeed(result: KernelCreationResult): void {
    this.#outcome.resolve(result);
  }

  fail(error: unknown): void {
    this.#outcome.reject(error);
  }

  /**
   * The last waiter to cancel breaks the creation off and learns the outcome once everything is cleaned up; one
   * that others outlast leaves at once.
   */
  wait(signal: AbortSignal): Promise<KernelCreationResult> {
    this.#waiters += 1;
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiters -= 1;
        const error = new CancelledError(`creation of kernel ${this.kernel.id} cancelled`);
        if (this.#waiters === 0) this.progress.breakOff(error);
        else reject(error);
      };
      // One of its own: a call may wait for more kernels than a signal bears listeners without a warning.
      const own = AbortSignal.any([signal]);
      if (own.aborted) onAbort();
      else own.addEventListener('abort', onAbort, { once: true });
      this.#outcome.promise.then(resolve, reject).finally(() => {
        own.removeEventListener('abort', onAbort);
      });
    });
  }
}
