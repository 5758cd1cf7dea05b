import type { Gauge, Metrics } from '../../core/metrics.js';

/**
 * Lets only so many kernels of the whole process be made and started at the same moment; the rest wait in the order in
 * which they came. A machine that starts a hundred containers at once starts none of them in time.
 */
export class StartGate {
  readonly #limit: number;
  readonly #waiting = new Set<() => void>();
  readonly #gauges: { readonly waiting: Gauge; readonly running: Gauge };
  #running = 0;

  /** `limit`: 1 or more. */
  constructor(limit: number, metrics: Metrics) {
    this.#limit = limit;
    this.#gauges = {
      waiting: metrics.gauge({
        name: 'splenium_kernel_starts_waiting',
        help: 'Kernels that wait for their turn to be started.',
      }),
      running: metrics.gauge({
        name: 'splenium_kernel_starts_running',
        help: 'Kernels whose container is being made or started.',
      }),
    };
    this.#show();
  }

  get isFull(): boolean {
    return this.#running >= this.#limit;
  }

  /**
   * Resolves when it is the caller's turn, with what gives the place back; calling that twice does no harm.
   * @throws the signal's reason when that comes first.
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.isFull) await this.#turn(signal);
    else this.#running += 1;
    this.#show();
    let isInside = true;
    return () => {
      if (!isInside) return;
      isInside = false;
      this.#leave();
    };
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onTurn = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = () => {
        this.#waiting.delete(onTurn);
        this.#show();
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.add(onTurn);
      this.#show();
    });
  }

  /** The place goes to who waits longest: nobody who comes meanwhile can take it. */
  #leave(): void {
    const [next] = this.#waiting;
    if (next) {
      this.#waiting.delete(next);
      next();
    } else this.#running -= 1;
    this.#show();
  }

  #show(): void {
    this.#gauges.waiting.set(this.#waiting.size);
    this.#gauges.running.set(this.#running);
  }
}
