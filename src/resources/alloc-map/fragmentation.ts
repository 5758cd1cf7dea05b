import { InvalidResourceArgument } from '../errors.js';
import { type Decimal, roundDown, ZERO } from '../quantity/decimal.js';
import type { Candidate } from './alloc-map.js';

/**
 * Can the amount be had without breaking it up needlessly? Within the capacity of one device it must fit on one; above
 * that it may use any number of devices that can take equal shares, give or take a quantum. It only admits; where the
 * amount goes is the strategy's matter (spec/config-and-resources.md 5.5, guard of [26.8]).
 */
export function isCompactlyPlaceable(list: readonly Candidate[], amount: Decimal, quantum: Decimal): boolean {
  if (!amount.greaterThan(ZERO)) throw new InvalidResourceArgument('Allocation amount must be positive.');
  const capacity = list.find(({ slot }) => slot.amount.greaterThan(ZERO))?.slot.amount;
  if (capacity === undefined) return false;
  const fewest = amount.dividedBy(capacity).ceil().toNumber();
  const most = amount.lessThanOrEqualTo(capacity) ? fewest : list.length;
  for (let count = fewest; count <= most; count += 1) {
    const share = roundDown(amount.dividedBy(count), quantum);
    const missing = amount.minus(share.times(count));
    const extra = missing.greaterThan(ZERO) ? missing.dividedBy(quantum).ceil().toNumber() : 0;
    const high = list.filter(({ free }) => free.greaterThanOrEqualTo(share.plus(quantum))).length;
    const enough = list.filter(({ free }) => free.greaterThanOrEqualTo(share)).length;
    if (high >= extra && enough >= count) return true;
  }
  return false;
}
