import { ValueError } from '../../core/errors.js';
import { formatShortBinarySize, parseBinarySize } from './binary-size.js';
import { Decimal, parseDecimal, positionalText, ZERO } from './decimal.js';
import { INTRINSIC_SLOTS, type SlotType } from './slot-name.js';

export type SlotTypes = ReadonlyMap<string, SlotType>;

/**
 * Slot name -> exact amount, immutable, in order of insertion (spec/config-and-resources.md 4.3). Keys that one
 * operand lacks count as zero. The comparisons are a partial order: {cpu: 2} is neither below nor above
 * {cpu: 1, mem: 1}.
 */
export class ResourceSlot {
  readonly #amounts: ReadonlyMap<string, Decimal>;

  private constructor(amounts: ReadonlyMap<string, Decimal>) {
    this.#amounts = amounts;
  }

  /** Null entries are dropped; a text of a slot whose name contains `mem` may be a size such as `1g`. */
  static of(amounts: Readonly<Record<string, string | Decimal | bigint | null>>): ResourceSlot {
    const entries = Object.entries(amounts).flatMap(([slot, amount]): [string, Decimal][] =>
      amount === null ? [] : [[slot, amountOf(slot, amount)]],
    );
    return new ResourceSlot(new Map(entries));
  }

  /** The wire's form: decimal texts only. @throws ValueError for `1g` and other texts. */
  static fromJson(amounts: Readonly<Record<string, string | null>>): ResourceSlot {
    const entries = Object.entries(amounts).flatMap(([slot, amount]): [string, Decimal][] =>
      amount === null ? [] : [[slot, parseDecimal(amount)]],
    );
    return new ResourceSlot(new Map(entries));
  }

  /**
   * What people write: sizes for byte slots, at most three decimals elsewhere; zeros are dropped and known slots
   * filled up.
   * @throws ValueError for unknown slots and negative amounts.
   */
  static fromUserInput(amounts: Readonly<Record<string, string>>, types: SlotTypes): ResourceSlot {
    const given = new Map<string, Decimal>();
    for (const [slot, text] of Object.entries(amounts)) {
      const type = types.get(slot);
      const hint = slot === 'shmem' ? ' (shared memory is a resource option, not a slot)' : '';
      if (type === undefined) throw new ValueError(`Unknown slot type: '${slot}'${hint}`);
      const amount = type === 'bytes' ? sizeOf(text) : parseDecimal(text).toDecimalPlaces(3);
      if (amount.isFinite() && amount.isNegative() && !amount.isZero())
        throw new ValueError(`slot '${slot}': ${text} is negative`);
      if (!amount.isZero()) given.set(slot, amount);
    }
    return new ResourceSlot(given).withKnown(types);
  }

  get(slot: string): Decimal {
    return this.#amounts.get(slot) ?? ZERO;
  }

  has(slot: string): boolean {
    return this.#amounts.has(slot);
  }

  get slots(): readonly string[] {
    return [...this.#amounts.keys()];
  }

  entries(): readonly (readonly [string, Decimal])[] {
    return [...this.#amounts];
  }

  plus(other: ResourceSlot): ResourceSlot {
    return this.#combine(other, (a, b) => a.plus(b));
  }

  minus(other: ResourceSlot): ResourceSlot {
    return this.#combine(other, (a, b) => a.minus(b));
  }

  negated(): ResourceSlot {
    return new ResourceSlot(new Map(this.entries().map(([slot, amount]) => [slot, amount.negated()])));
  }

  equals(other: ResourceSlot): boolean {
    return this.#every(other, (a, b) => a.equals(b));
  }

  /** No key is greater. */
  isAtMost(other: ResourceSlot): boolean {
    return this.#every(other, (a, b) => a.lessThanOrEqualTo(b));
  }

  /** No key is greater and not all are equal. */
  isBelow(other: ResourceSlot): boolean {
    return this.isAtMost(other) && !this.equals(other);
  }

  isAtLeast(other: ResourceSlot): boolean {
    return other.isAtMost(this);
  }

  isAbove(other: ResourceSlot): boolean {
    return other.isBelow(this);
  }

  /** Equal on the common keys, and zero on every key that only the other has. */
  equalsContaining(other: ResourceSlot): boolean {
    return other
      .entries()
      .every(([slot, amount]) => (this.has(slot) ? this.get(slot).equals(amount) : amount.isZero()));
  }

  equalsContained(other: ResourceSlot): boolean {
    return other.equalsContaining(this);
  }

  /**
   * Drops unknown slots and adds every known missing one as zero.
   * @throws ValueError naming the unknown slots, unless they are to be ignored.
   */
  normalized(types: SlotTypes, options: { readonly ignoreUnknown: boolean }): ResourceSlot {
    const unknown = this.slots.filter((slot) => !types.has(slot));
    if (unknown.length > 0 && !options.ignoreUnknown)
      throw new ValueError(`Unknown slots: ${unknown.map((slot) => `'${slot}'`).join(', ')}`);
    return new ResourceSlot(new Map(this.entries().filter(([slot]) => types.has(slot)))).withKnown(types);
  }

  withKnown(types: SlotTypes): ResourceSlot {
    const filled = new Map(this.#amounts);
    for (const slot of types.keys()) if (!filled.has(slot)) filled.set(slot, ZERO);
    return new ResourceSlot(filled);
  }

  hasIntrinsicSlots(): boolean {
    return INTRINSIC_SLOTS.every((slot) => this.has(slot));
  }

  /** Positional decimal texts. */
  toJson(): Record<string, string> {
    return Object.fromEntries(this.entries().map(([slot, amount]) => [slot, positionalText(amount)]));
  }

  /** For people: byte slots as `1.5g`. A slot of unknown type is taken for bytes when it is called `mem`. */
  toHumanized(types: SlotTypes): Record<string, string> {
    return Object.fromEntries(
      this.entries().map(([slot, amount]) => {
        const type = types.get(slot) ?? (slot === 'mem' ? 'bytes' : 'count');
        return [slot, type === 'bytes' ? shortSize(amount) : positionalText(amount)];
      }),
    );
  }

  #combine(other: ResourceSlot, operation: (a: Decimal, b: Decimal) => Decimal): ResourceSlot {
    return new ResourceSlot(
      new Map(this.#allSlots(other).map((slot) => [slot, operation(this.get(slot), other.get(slot))])),
    );
  }

  #every(other: ResourceSlot, test: (a: Decimal, b: Decimal) => boolean): boolean {
    return this.#allSlots(other).every((slot) => test(this.get(slot), other.get(slot)));
  }

  #allSlots(other: ResourceSlot): readonly string[] {
    return [...new Set([...this.slots, ...other.slots])];
  }
}

function amountOf(slot: string, amount: string | Decimal | bigint): Decimal {
  if (typeof amount === 'bigint') return new Decimal(String(amount));
  if (typeof amount !== 'string') return amount;
  return slot.includes('mem') ? sizeOf(amount) : parseDecimal(amount);
}

function sizeOf(text: string): Decimal {
  const size = parseBinarySize(text);
  return new Decimal(size === 'infinite' ? 'Infinity' : String(size));
}

const shortSize = (amount: Decimal): string =>
  amount.isFinite() ? formatShortBinarySize(BigInt(positionalText(amount.trunc()))) : positionalText(amount);
