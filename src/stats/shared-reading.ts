import type { Clock } from '../core/clock.js';

/**
 * One reading for all who want it at about the same moment: agents of one process look at the machine once and not
 * each for itself. One that runs is joined and never doubled, however long it takes.
 */
export class SharedReading<T> {
  readonly #read: () => Promise<T>;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  #last: { readonly result: Promise<T>; readonly begunAtMs: number; isRunning: boolean } | null = null;

  constructor(read: () => Promise<T>, clock: Pick<Clock, 'monotonicMs'>) {
    this.#read = read;
    this.#clock = clock;
  }

  /** The last reading if it is younger than this, else a new one. @throws the reading's error. */
  take(maxAgeMs: number): Promise<T> {
    const nowMs = this.#clock.monotonicMs();
    const last = this.#last;
    if (last && (last.isRunning || nowMs - last.begunAtMs < maxAgeMs)) return last.result;
    const mine = { result: this.#read(), begunAtMs: nowMs, isRunning: true };
    this.#last = mine;
    mine.result.then(
      () => {
        mine.isRunning = false;
      },
      () => {
        // Who comes next tries for itself.
        if (this.#last === mine) this.#last = null;
      },
    );
    return mine.result;
  }
}
