/** How many addresses are kept; a stranger may come from many. */
const MAX_ADDRESSES = 256;

/**
 * How often clients were turned away, by IP address, for operators: a metric cannot have a label with so many
 * values. Only the addresses seen last are kept.
 */
export class Refusals {
  readonly #counts = new Map<string, number>();

  count(address: string): void {
    const count = (this.#counts.get(address) ?? 0) + 1;
    this.#counts.delete(address);
    this.#counts.set(address, count);
    if (this.#counts.size > MAX_ADDRESSES)
      for (const oldest of this.#counts.keys()) {
        this.#counts.delete(oldest);
        break;
      }
  }

  get byAddress(): ReadonlyMap<string, number> {
    return this.#counts;
  }
}
