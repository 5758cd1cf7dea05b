/**
 * A counter that never falls, made of readings that may: a process that ends takes its share along, and a kernel that
 * is restarted begins anew.
 */
export class GrowingCounter {
  #total: number;
  #last: number;

  constructor(first: number) {
    this.#total = this.#last = first;
  }

  observe(reading: number): number {
    this.#total += Math.max(0, reading - this.#last);
    this.#last = reading;
    return this.#total;
  }
}
