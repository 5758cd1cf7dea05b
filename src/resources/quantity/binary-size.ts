import { ValueError } from '../../core/errors.js';
import { Decimal, parseDecimal, positionalText } from './decimal.js';

/** Byte counts and their texts (spec/config-and-resources.md 4.2). Values are exact: `bigint` bytes. */

const SCALES = 'kmgtpezy';
const ENDINGS = ['ibytes', 'ibyte', 'ib', 'bytes', 'byte', 'b'];
const KIBI = 1024n;

/**
 * Reads `1024`, `2.5G`, `1 KiB`, `10 bytes`; `infinite` where the text says so.
 * @throws ValueError for fractions of a byte, unknown scales and anything else.
 */
export function parseBinarySize(text: string): bigint | 'infinite' {
  if (/^inf(inite|inity)?$/i.test(text.trim())) return 'infinite';
  const trimmed = text.trim().replaceAll('_', '');
  if (/^[+-]?\d{1,40}$/.test(trimmed)) return BigInt(trimmed.replace('+', ''));
  if (/^[+-]?\d{1,40}\.0*$/.test(trimmed)) return BigInt(trimmed.replace('+', '').replace(/\..*$/, ''));
  const lower = trimmed.toLowerCase();
  const ending = ENDINGS.find((candidate) => lower.endsWith(candidate));
  const stem = ending === undefined ? lower : lower.slice(0, -ending.length);
  const scale = stem.slice(-1);
  if (ending === undefined && /\d/.test(scale)) throw new ValueError('Fractional bytes are not allowed');
  const exponent = scale === ' ' ? 0 : SCALES.indexOf(scale) + 1;
  if (scale === '' || (scale !== ' ' && exponent === 0)) throw unconvertible(text);
  const number = decimalOf(stem.slice(0, -1), text);
  return BigInt(positionalText(number.times(multiplier(exponent)).trunc()));
}

/** @throws ValueError also for infinite sizes. */
export function parseFiniteBinarySize(text: string): bigint {
  const size = parseBinarySize(text);
  if (size === 'infinite') throw new ValueError('infinite values are not allowed');
  return size;
}

function decimalOf(digits: string, whole: string): Decimal {
  let value: Decimal;
  try {
    value = parseDecimal(digits);
  } catch (error) {
    throw unconvertible(whole, error);
  }
  if (!value.isFinite()) throw unconvertible(whole);
  return value;
}

const unconvertible = (text: string, cause?: unknown): ValueError =>
  new ValueError(`Unconvertible value: '${text.slice(0, 80)}'`, { cause });

const multiplier = (exponent: number): Decimal => new Decimal(String(KIBI ** BigInt(exponent)));

/** `1.5 KiB`, `12 bytes`. At most two decimals: not exact. */
export function formatBinarySize(bytes: bigint): string {
  const index = scaleIndex(bytes);
  if (index === 0) return bytes === 1n ? '1 byte' : `${String(bytes)} bytes`;
  return `${quantized(bytes, index)} ${SCALES.charAt(index - 1).toUpperCase()}iB`;
}

/** `1.5k`, `12`: the format `s` of the original. At most two decimals: not exact. */
export function formatShortBinarySize(bytes: bigint): string {
  const index = scaleIndex(bytes);
  return index === 0 ? String(bytes) : `${quantized(bytes, index)}${SCALES.charAt(index - 1)}`;
}

/** The short format where it says the size exactly, whole bytes where it does not. */
export function formatExactBinarySize(bytes: bigint): string {
  const short = formatShortBinarySize(bytes);
  return parseBinarySize(short) === bytes ? short : String(bytes);
}

/**
 * A fixed scale: `1024m` for `m`, plain bytes for a space.
 * @throws ValueError for any other scale.
 */
export function formatScaledBinarySize(bytes: bigint, scale: string): string {
  if (scale.length !== 1) throw new ValueError('format-string for BinarySize can be only one character.');
  if (scale === 's') return formatShortBinarySize(bytes);
  const exponent = scale === ' ' ? 0 : SCALES.indexOf(scale) + 1;
  if (scale !== ' ' && exponent === 0) throw new ValueError('Unsupported scale unit.');
  return `${quantized(bytes, exponent)}${scale}`.trim();
}

function scaleIndex(bytes: bigint): number {
  let index = 0;
  for (let rest = bytes; rest >= KIBI && index < SCALES.length; rest /= KIBI) index += 1;
  return index;
}

const quantized = (bytes: bigint, exponent: number): string =>
  positionalText(
    new Decimal(String(bytes)).dividedBy(multiplier(exponent)).toDecimalPlaces(2, Decimal.ROUND_HALF_EVEN),
  );
