import { Decimal } from 'decimal.js';
import { expecting } from './parser.js';

const ENDINGS = ['ibytes', 'ibyte', 'ib', 'bytes', 'byte', 'b'];
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?$/;

/** `64M`, `1.5g`, `1 GiB` or whole bytes; scales are powers of 1024 (spec/config-and-resources.md 4.2). */
export const parseSizeBytes = expecting(
  'a size such as "64M" or "1.5G", or whole bytes',
  (value: unknown): number => {
    const bytes = typeof value === 'string' ? sizeOfText(value) : wholeBytes(value);
    if (bytes < 0) throw new Error('expected a size of zero or more');
    if (!Number.isSafeInteger(bytes)) throw new Error('the size is too large');
    return bytes;
  },
);

function wholeBytes(value: unknown): number {
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'number') throw new Error('expected a size such as "64M" or "1.5G", or whole bytes');
  if (!Number.isInteger(value)) throw new Error('Fractional bytes are not allowed');
  return value;
}

function sizeOfText(written: string): number {
  const text = written.trim().replaceAll('_', '').toLowerCase();
  if (/^inf(inite|inity)?$/.test(text)) throw new Error('infinite values are not allowed');
  if (/^[+-]?\d+(\.0*)?$/.test(text)) return Number(text);
  const ending = ENDINGS.find((candidate) => text.endsWith(candidate));
  const stem = ending === undefined ? text : text.slice(0, -ending.length);
  const last = stem.at(-1) ?? '';
  if (ending === undefined && /\d/.test(last)) throw new Error('Fractional bytes are not allowed');
  return scaled(stem.slice(0, -1).trim(), ' kmgtpezy'.indexOf(last), 1024);
}

/** Decimal scales by default, binary ones with an `i`: `10M` is 10 000 000, `10MiB` is 10 485 760. */
export const parseDecimalSizeBytes = expecting(
  'a size such as "10M" (10 000 000) or "10MiB" (10 485 760), or whole bytes',
  (value: unknown): number => {
    if (typeof value !== 'string') return parseSizeBytes(value);
    const match = /^([\d._]+)\s*([kmgtpe]?)(i?)b?$/i.exec(value.trim());
    const [, number = '', scale = '', binary = ''] = match ?? [];
    const bytes = scaled(
      number.replaceAll('_', ''),
      ' kmgtpe'.indexOf(scale.toLowerCase() || ' '),
      binary === '' ? 1000 : 1024,
    );
    if (!Number.isSafeInteger(bytes)) throw new Error('the size is too large');
    return bytes;
  },
);

function scaled(number: string, power: number, base: number): number {
  if (power < 0 || !DECIMAL.test(number))
    throw new Error('Unconvertible value: expected a size such as "64M" or "1.5G"');
  return new Decimal(number).times(new Decimal(base).pow(power)).trunc().toNumber();
}
