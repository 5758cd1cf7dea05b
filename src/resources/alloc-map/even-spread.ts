import { Decimal, sum, toHundredths, ZERO } from '../quantity/decimal.js';
import type { Candidate } from './alloc-map.js';

const HUNDREDTH = new Decimal('0.01');

type Placement = ReadonlyMap<string, Decimal>;

/**
 * Where an amount goes when devices are to be used evenly: the best-fitting single device if the first listed one
 * has room for all, else the run of listed devices over which it spreads most evenly, over as few as possible
 * (spec/config-and-resources.md 5.5, EVENLY 3 and 4). The list must have enough free in all.
 */
export function spreadEvenly(list: readonly Candidate[], amount: Decimal, minMemory: Decimal): Placement {
  const [first] = list;
  if (first?.free.greaterThanOrEqualTo(amount) === true) {
    const tightest = list.findLast(({ free }) => free.greaterThanOrEqualTo(amount)) ?? first;
    return new Map([[tightest.deviceId, toHundredths(amount)]]);
  }
  let best: Rated | undefined;
  for (let size = shortestPrefix(list, amount); size <= list.length; size += 1) {
    const rated = lastGoodWindow(list, size, amount, minMemory);
    if (best === undefined || isBetter(rated, best)) best = rated;
  }
  return best?.placement ?? new Map();
}

interface Rated {
  readonly placement: Placement;
  readonly evenness: Decimal;
  readonly fragments: number;
}

const isBetter = (a: Rated, b: Rated): boolean => {
  const byEvenness = a.evenness.comparedTo(b.evenness);
  if (byEvenness !== 0) return byEvenness > 0;
  if (a.placement.size !== b.placement.size) return a.placement.size < b.placement.size;
  return a.fragments < b.fragments;
};

function shortestPrefix(list: readonly Candidate[], amount: Decimal): number {
  const wanted = toHundredths(amount);
  let free = ZERO;
  for (const [index, candidate] of list.entries()) {
    free = free.plus(candidate.free);
    if (toHundredths(free).greaterThanOrEqualTo(wanted)) return index + 1;
  }
  return list.length;
}

/** Slides along the list while the window still holds the amount and spreads it no worse than the first one. */
function lastGoodWindow(
  list: readonly Candidate[],
  size: number,
  amount: Decimal,
  minMemory: Decimal,
): Rated {
  const first = rate(list.slice(0, size), amount, minMemory);
  let last = first;
  for (let start = 1; start + size <= list.length; start += 1) {
    const window = list.slice(start, start + size);
    if (toHundredths(sum(window.map(({ free }) => free))).lessThan(toHundredths(amount))) break;
    const rated = rate(window, amount, minMemory);
    if (rated.evenness.lessThan(first.evenness)) break;
    last = rated;
  }
  return last;
}

function rate(window: readonly Candidate[], amount: Decimal, minMemory: Decimal): Rated {
  const placement = spreadOver(window, amount);
  const amounts = [...placement.values()];
  const evenness = Decimal.max(...amounts)
    .minus(Decimal.min(...amounts))
    .negated();
  const fragments = window.filter(({ deviceId, slot }) => {
    const left = toHundredths(slot.amount.minus(placement.get(deviceId) ?? ZERO));
    return left.greaterThan(HUNDREDTH) && left.lessThan(toHundredths(minMemory));
  }).length;
  return { placement, evenness, fragments };
}

/**
 * Devices with less than an equal share give all they have; the others share the rest. The list is sorted by free
 * amount only without an affinity hint, so it is sorted here: otherwise a small device at the front would be given
 * more than it has.
 */
function spreadOver(window: readonly Candidate[], amount: Decimal): Placement {
  const devices = [...window].sort((a, b) => b.free.comparedTo(a.free));
  const placement = new Map<string, Decimal>();
  let rest = amount;
  let open = devices.length;
  for (; open > 0; open -= 1) {
    const device = devices[open - 1];
    if (device === undefined || device.free.greaterThanOrEqualTo(rest.dividedBy(open))) break;
    const all = toHundredths(device.free);
    placement.set(device.deviceId, all);
    rest = rest.minus(all);
  }
  if (open === 0) return placement;
  const base = rest.dividedBy(open).toDecimalPlaces(2, Decimal.ROUND_DOWN);
  const extra = toHundredths(rest.minus(base.times(open)))
    .dividedBy(HUNDREDTH)
    .toNumber();
  for (const [index, { deviceId }] of devices.slice(0, open).entries())
    placement.set(deviceId, index < extra ? base.plus(HUNDREDTH) : base);
  return placement;
}
