/**
 * Serial numbers that wrap (RFC 1982), for sequence ids. Two numbers exactly half the range apart are neither
 * smaller nor greater than one another.
 */
export class SerialNumbers {
  readonly #size: number;

  constructor(bits: number) {
    this.#size = 2 ** bits;
  }

  /** The number after this one; the last one is followed by 0. */
  next(value: number): number {
    return (value + 1) % this.#size;
  }

  isLess(a: number, b: number): boolean {
    const distance = (b - a + this.#size) % this.#size;
    return distance > 0 && distance < this.#size / 2;
  }

  isGreater(a: number, b: number): boolean {
    return this.isLess(b, a);
  }
}

/** Sequence ids of Callosum: 0 to 2^32 - 1 (spec/wire-protocol.md 2.3). */
export const sequenceNumbers = new SerialNumbers(32);
