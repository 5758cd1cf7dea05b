import { InsufficientResource, ResourceError } from '../errors.js';
import { Decimal, sum, ZERO } from '../quantity/decimal.js';
import { type AllocateOptions, AllocMap, type Candidate, distribute } from './alloc-map.js';

const MOST_ROUNDS = 100;

/** Devices given out in whole units: cores, bytes, GPUs (spec/config-and-resources.md 5.4). */
export class DiscretePropertyAllocMap extends AllocMap {
  readonly kind = 'discrete';

  protected override allocateSlot(
    slotName: string,
    amount: Decimal,
    options: AllocateOptions,
  ): ReadonlyMap<string, Decimal> {
    this.refuseUnlessOneIfUnique(slotName, amount);
    const list = this.candidates(slotName, options.hint);
    const refuse = (message: string, allocatable: Decimal): never => {
      throw new InsufficientResource(`DiscretePropertyAllocMap: ${message}`, {
        slotName,
        requested: amount,
        allocatable,
        contextTag: options.contextTag,
      });
    };
    return this.strategy === 'FILL'
      ? fill(list, amount, refuse)
      : this.inRegistrationOrder(spread(list, amount, refuse));
  }
}

type Refuse = (message: string, allocatable: Decimal) => never;

function fill(list: readonly Candidate[], amount: Decimal, refuse: Refuse): ReadonlyMap<string, Decimal> {
  const total = sum(list.map(({ free }) => free.trunc()));
  if (total.lessThan(amount)) refuse('insufficient allocatable amount!', total);
  const granted = new Map<string, Decimal>();
  let remaining = amount;
  for (const { deviceId, free } of list) {
    if (!remaining.greaterThan(ZERO)) break;
    const portion = Decimal.min(remaining, free);
    if (!portion.greaterThan(ZERO)) continue;
    granted.set(deviceId, portion);
    remaining = remaining.minus(portion);
  }
  return granted;
}

/** The request is cut to whole units. Each round gives every device with room an equal share, as far as it has it. */
function spread(list: readonly Candidate[], amount: Decimal, refuse: Refuse): ReadonlyMap<string, Decimal> {
  const granted = new Map<string, Decimal>();
  const freeOf = ({ deviceId, free }: Candidate): Decimal => free.minus(granted.get(deviceId) ?? ZERO);
  let remaining = amount.trunc();
  for (let round = 0; remaining.greaterThan(ZERO); round += 1) {
    if (round === MOST_ROUNDS) throw new ResourceError('too many repeats until allocation');
    const total = sum(list.map(freeOf)).trunc();
    if (total.lessThan(remaining)) refuse('insufficient allocatable amount!', total);
    const open = list.filter((candidate) => freeOf(candidate).greaterThan(ZERO));
    if (open.length === 0) refuse('insufficient allocatable candidate devices!', total);
    const shares = distribute(remaining, open.length);
    for (const [index, candidate] of open.entries()) {
      if (!remaining.greaterThan(ZERO)) break;
      const portion = Decimal.min(freeOf(candidate).trunc(), shares[index] ?? ZERO);
      granted.set(candidate.deviceId, (granted.get(candidate.deviceId) ?? ZERO).plus(portion));
      remaining = remaining.minus(portion);
    }
  }
  return granted;
}
