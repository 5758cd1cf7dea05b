import { FractionalResourceFragmented, InsufficientResource, NotMultipleOfQuantum } from '../errors.js';
import { Decimal, roundDown, sum, toHundredths, ZERO } from '../quantity/decimal.js';
import { type AllocateOptions, AllocMap, type AllocMapOptions, type Candidate } from './alloc-map.js';
import { spreadEvenly } from './even-spread.js';
import { isCompactlyPlaceable } from './fragmentation.js';

const HUNDREDTH = new Decimal('0.01');

export interface FractionAllocMapOptions extends AllocMapOptions {
  /** Smallest unit that is given out; default 0.01. */
  readonly quantum?: Decimal;
}

/**
 * Devices given out in fractions (spec/config-and-resources.md 5.5). What is granted is rounded down to the quantum
 * and may therefore be less than what was asked; it is never more than what a device has free.
 */
export class FractionAllocMap extends AllocMap {
  readonly kind = 'fraction';
  readonly quantum: Decimal;

  constructor(options: FractionAllocMapOptions) {
    super(options);
    this.quantum = options.quantum ?? HUNDREDTH;
  }

  protected override allocateSlot(
    slotName: string,
    amount: Decimal,
    options: AllocateOptions,
  ): ReadonlyMap<string, Decimal> {
    const list = this.candidates(slotName, options.hint);
    const request: Request = { slotName, amount, contextTag: options.contextTag };
    if (options.allowFragmentation === false) this.#refuseFragmented(list, request);
    let placed: ReadonlyMap<string, Decimal>;
    if (this.strategy === 'FILL') {
      this.refuseUnlessOneIfUnique(slotName, amount);
      placed = fill(list, request);
    } else placed = this.inRegistrationOrder(evenly(list, request, options.minMemory ?? HUNDREDTH));
    const granted = new Map(
      [...placed]
        .map(([id, portion]): [string, Decimal] => [id, roundDown(portion, this.quantum)])
        .filter(([, portion]) => portion.greaterThan(ZERO)),
    );
    if (granted.size === 0) throw new NotMultipleOfQuantum(slotName, amount);
    return granted;
  }

  #refuseFragmented(list: readonly Candidate[], { slotName, amount, contextTag }: Request): void {
    const refuse = (message: string): never => {
      throw new FractionalResourceFragmented(`FractionAllocMap: ${message}`, {
        slotName,
        requested: amount,
        deviceIds: list.map(({ deviceId }) => deviceId),
        contextTag,
      });
    };
    if (list.length === 0) refuse('no device left for allocation!');
    if (!isCompactlyPlaceable(list, amount, this.quantum))
      refuse('refusing to create kernel with fractional resource fragmented!');
  }
}

interface Request {
  readonly slotName: string;
  readonly amount: Decimal;
  readonly contextTag: string | undefined;
}

const insufficient = (
  { slotName, amount, contextTag }: Request,
  allocatable: Decimal,
): InsufficientResource =>
  new InsufficientResource('FractionAllocMap: insufficient allocatable amount!', {
    slotName,
    requested: amount,
    allocatable,
    contextTag,
  });

function fill(list: readonly Candidate[], request: Request): ReadonlyMap<string, Decimal> {
  const total = sum(list.map(({ free }) => free));
  if (total.lessThan(request.amount)) throw insufficient(request, total);
  const granted = new Map<string, Decimal>();
  let remaining = request.amount;
  for (const { deviceId, free } of list) {
    const portion = Decimal.min(remaining, free);
    if (portion.greaterThan(ZERO)) granted.set(deviceId, portion);
    remaining = remaining.minus(portion);
  }
  return granted;
}

function evenly(
  all: readonly Candidate[],
  request: Request,
  minMemory: Decimal,
): ReadonlyMap<string, Decimal> {
  const list = all.filter(({ free }) => free.greaterThanOrEqualTo(toHundredths(minMemory)));
  const total = toHundredths(sum(list.map(({ free }) => free)));
  if (total.lessThan(toHundredths(request.amount))) throw insufficient(request, total);
  const placed = spreadEvenly(list, request.amount, minMemory);
  // Rounding to hundredths may go up: nobody gets more than there is.
  const free = new Map(list.map((candidate) => [candidate.deviceId, candidate.free]));
  return new Map([...placed].map(([id, portion]) => [id, Decimal.min(portion, free.get(id) ?? ZERO)]));
}
