import { Decimal, positionalText } from '../resources/quantity/decimal.js';

/** Decimal places of every number but percentages (spec/events-and-stores.md 5.2). */
const PLACES = 3;
const PERCENT_PLACES = 2;
const NO_PERCENTAGE = '0.00';

/**
 * A number as statistics carry it: rounded half-even, without trailing zeros and exponent. One with more digits than
 * decimal arithmetic keeps is written as it is.
 */
export function numberText(value: Decimal, places = PLACES): string {
  if (!value.isFinite() || value.e + 1 + places > Decimal.precision) return positionalText(value);
  return positionalText(value.toDecimalPlaces(places, Decimal.ROUND_HALF_EVEN));
}

/** `current / capacity × 100`; `0.00` where there is no capacity to speak of. */
export function percentText(current: Decimal, capacity: Decimal | null): string {
  if (!capacity?.isFinite() || capacity.lessThanOrEqualTo(0) || !current.isFinite()) return NO_PERCENTAGE;
  return numberText(current.dividedBy(capacity).times(100), PERCENT_PLACES);
}
