import { Decimal, ZERO } from '../resources/quantity/decimal.js';

interface Point {
  readonly value: Decimal;
  readonly atMs: number;
}

/** What is known of one series of raw values since its first one (spec/events-and-stores.md 5.2). */
export class RunningStatistics {
  #min: Decimal;
  #max: Decimal;
  #sum: Decimal;
  #count = 1;
  #previous: Point | null = null;
  #last: Point;

  /** `atMs` is of a monotonic clock. */
  constructor(value: Decimal, atMs: number) {
    this.#min = this.#max = this.#sum = value;
    this.#last = { value, atMs };
  }

  observe(value: Decimal, atMs: number): void {
    this.#min = Decimal.min(this.#min, value);
    this.#max = Decimal.max(this.#max, value);
    this.#sum = this.#sum.plus(value);
    this.#count += 1;
    this.#previous = this.#last;
    this.#last = { value, atMs };
  }

  get min(): Decimal {
    return this.#min;
  }
  get max(): Decimal {
    return this.#max;
  }
  get sum(): Decimal {
    return this.#sum;
  }
  get avg(): Decimal {
    return this.#sum.dividedBy(this.#count);
  }
  /** Growth since the observation before; 0 without one, and when a counter started again. */
  get diff(): Decimal {
    if (!this.#previous) return ZERO;
    return Decimal.max(this.#last.value.minus(this.#previous.value), ZERO);
  }
  /** Growth in a second. */
  get rate(): Decimal {
    const elapsedMs = this.#last.atMs - (this.#previous?.atMs ?? this.#last.atMs);
    return elapsedMs > 0 ? this.diff.times(1000).dividedBy(elapsedMs) : ZERO;
  }
}
