import { Decimal as Base } from 'decimal.js';
import { ValueError } from '../../core/errors.js';

/** Exact base-10 numbers as Python's default context computes them: 28 significant digits, half-even. */
export const Decimal = Base.clone({
  precision: 28,
  rounding: Base.ROUND_HALF_EVEN,
  minE: -999_999,
  maxE: 999_999,
});
export type Decimal = Base;

export const ZERO = new Decimal(0);

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?$/;
const INFINITE = /^([+-]?)inf(?:inity)?$/i;
/** Amounts come from peers: nothing measurable needs more, and a huge exponent would make a huge text. */
const LONGEST_TEXT = 80;
const LARGEST_EXPONENT = 60;

/**
 * Reads a number as Python's `Decimal(text)` does, within bounds: no NaN, at most 80 characters, exponent within 60.
 * @throws ValueError naming the text.
 */
export function parseDecimal(text: string): Decimal {
  const trimmed = text.trim().replaceAll('_', '');
  const infinite = INFINITE.exec(trimmed);
  if (infinite) return new Decimal(infinite[1] === '-' ? '-Infinity' : 'Infinity');
  if (trimmed.length > LONGEST_TEXT || !NUMBER.test(trimmed))
    throw new ValueError(`not a decimal number: '${text.slice(0, LONGEST_TEXT)}'`);
  const value = new Decimal(trimmed);
  if (!value.isZero() && Math.abs(value.e) > LARGEST_EXPONENT)
    throw new ValueError(`a number out of range: '${text}'`);
  return value;
}

/** Positional text without exponent: `1000`, `0.0000001`, `-Infinity`. */
export function positionalText(value: Decimal): string {
  if (!value.isFinite()) return value.isNegative() ? '-Infinity' : 'Infinity';
  return value.isZero() ? '0' : value.toFixed();
}

/**
 * What `str(Decimal)` prints in Python for the value without trailing zeros behind the point: positional down to
 * 0.000001, then `1E-7`.
 */
export function pythonText(value: Decimal): string {
  if (!value.isFinite() || value.isZero() || value.e >= -6) return positionalText(value);
  const [digits = '', exponent = ''] = value.toExponential().split('e');
  return `${digits}E${exponent}`;
}

export const sum = (values: Iterable<Decimal>): Decimal => {
  let total = ZERO;
  for (const value of values) total = total.plus(value);
  return total;
};

/** Largest multiple of `quantum` not above `value`, which must not be negative (spec/config-and-resources.md 5.1). */
export const roundDown = (value: Decimal, quantum: Decimal): Decimal => value.minus(value.mod(quantum));

/** Half-even to hundredths: the working precision of fraction maps. */
export const toHundredths = (value: Decimal): Decimal => value.toDecimalPlaces(2, Decimal.ROUND_HALF_EVEN);
