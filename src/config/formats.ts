import { Decimal } from 'decimal.js';
import { messageOf } from '../core/errors.js';
import { PartError, type Parser, expecting } from './parser.js';

/** Parsers of plain values (spec/config-and-resources.md 1.2). Each throws an Error that says what is expected. */

export const parseBoolean = expecting('true or false', (value: unknown): boolean => {
  if (typeof value === 'boolean') return value;
  const word = typeof value === 'string' || typeof value === 'number' ? String(value).toLowerCase() : '';
  if (['1', 'true', 'yes', 'on', 't', 'y'].includes(word)) return true;
  if (['0', 'false', 'no', 'off', 'f', 'n'].includes(word)) return false;
  throw new Error('expected true or false');
});

export const parseInteger = expecting('an integer', (value: unknown): number => {
  if (typeof value === 'boolean') return value ? 1 : 0;
  const number = typeof value === 'number' || typeof value === 'bigint' ? Number(value) : integralText(value);
  if (!Number.isSafeInteger(number)) throw new Error('expected an integer');
  return number;
});

const integralText = (value: unknown): number =>
  typeof value === 'string' && /^[+-]?\d+(\.0*)?$/.test(value.trim()) ? Number(value) : Number.NaN;

export function integerBetween(lowest: number, highest: number): Parser<number> {
  const expects = `an integer from ${String(lowest)} to ${String(highest)}`;
  return expecting(expects, (value) => {
    const number = parseInteger(value);
    if (number < lowest || number > highest) throw new Error(`expected ${expects}`);
    return number;
  });
}

export function integerFrom(lowest: number): Parser<number> {
  const expects = `an integer, ${String(lowest)} or more`;
  return expecting(expects, (value) => {
    const number = parseInteger(value);
    if (number < lowest) throw new Error(`expected ${expects}`);
    return number;
  });
}

export const parsePort = integerBetween(1, 65_535);

export const parseNonNegative = expecting('a number, zero or more', (value: unknown): number => {
  const number = numberOf(value);
  if (number < 0) throw new Error('expected a number, zero or more');
  return number;
});

export const parsePositive = expecting('a number above zero', (value: unknown): number => {
  const number = numberOf(value);
  if (number <= 0) throw new Error('expected a number above zero');
  return number;
});

function numberOf(value: unknown): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number === 'bigint') return Number(number);
  if (typeof number === 'number' && Number.isFinite(number)) return number;
  throw new Error('expected a number');
}

/** A decimal number of zero or more, kept exactly, as plain text. */
export const parseAmount = expecting('a decimal number, zero or more', (value: unknown): string => {
  const text = typeof value === 'number' || typeof value === 'bigint' ? String(value) : value;
  if (typeof text !== 'string' || !/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?$/i.test(text.trim()))
    throw new Error('expected a decimal number, zero or more');
  const amount = new Decimal(text.trim());
  if (amount.isNegative() && !amount.isZero())
    throw new Error('All allocated device resource values must not be a negative value');
  return amount.toFixed();
});

export const parseText = expecting('a string', (value: unknown): string => {
  if (typeof value !== 'string') throw new Error('expected a string');
  return value;
});

export const parseNonEmptyText = expecting('a string, not empty', (value: unknown): string => {
  if (typeof value !== 'string' || value === '') throw new Error('expected a string, not empty');
  return value;
});

export function oneOf<const Choice extends string>(...choices: readonly Choice[]): Parser<Choice> {
  const expects = `one of ${choices.map((choice) => `"${choice}"`).join(', ')}`;
  return expecting(expects, (value) => {
    const found = choices.find((choice) => choice === value);
    if (found === undefined) throw new Error(`expected ${expects}`);
    return found;
  });
}

export const parseLevel = expecting(
  'one of "CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "TRACE", "NOTSET" in any case',
  (value: unknown) =>
    oneOf(
      'CRITICAL',
      'ERROR',
      'WARNING',
      'INFO',
      'DEBUG',
      'TRACE',
      'NOTSET',
    )(typeof value === 'string' ? value.toUpperCase() : value),
);

export function listOf<T>(item: Parser<T>): Parser<readonly T[]> {
  const expects = `a list; each item ${item.expects}`;
  return expecting(expects, (value) => {
    if (!Array.isArray(value)) throw new Error(`expected ${expects}`);
    return value.map((entry: unknown, index) => inPart(index, () => item(entry)));
  });
}

/** A list whose repetitions do not count. */
export function setOf<T>(item: Parser<T>): Parser<readonly T[]> {
  const list = listOf(item);
  return expecting(list.expects, (value) => [...new Set(list(value))]);
}

export function mapOf<T>(item: Parser<T>): Parser<Readonly<Record<string, T>>> {
  const expects = `a table; each value ${item.expects}`;
  return expecting(expects, (value) => {
    if (!isTable(value)) throw new Error(`expected ${expects}`);
    return Object.fromEntries(
      Object.entries(value).map(([name, entry]) => [name, inPart(name, () => item(entry))]),
    );
  });
}

/** Parses one part of a value, so that a complaint names and points at the part. */
export function inPart<T>(name: string | number, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new PartError([name], `${String(name)}: ${messageOf(error)}`);
  }
}

export const parseTable = expecting('a table', (value: unknown): Readonly<Record<string, unknown>> => {
  if (!isTable(value)) throw new Error('expected a table');
  return value;
});

export function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** Both ends included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export const parsePortRange = expecting('[first port, last port]', (value: unknown): PortRange => {
  const pair: unknown = typeof value === 'string' ? value.split(/[-,]/) : value;
  if (!Array.isArray(pair) || pair.length !== 2)
    throw new Error('port_range must be a tuple of two integers');
  const [first, last] = pair.map((port) => Math.trunc(Number(port)));
  if (first === undefined || last === undefined || !isPort(first) || !isPort(last))
    throw new Error('port_range must be a tuple of two integers from 1 to 65535');
  if (first > last) throw new Error(`invalid port_range: start=${String(first)} > end=${String(last)}`);
  return { first, last };
});

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65_535;

/** A user or group id, or the name of a user; null stands for the process' own id. */
export type Owner = number | string | null;

export const parseOwner = expecting('a number, a user name, or -1 for our own', (value: unknown): Owner => {
  if (value === null || value === '' || value === -1 || value === '-1') return null;
  if (typeof value === 'number' || typeof value === 'bigint') return parseInteger(value);
  if (typeof value !== 'string') throw new Error('value must be either int or str');
  return /^[+-]?\d+$/.test(value.trim()) ? parseInteger(value) : value;
});

export const parseAffinityPolicy = expecting(
  '"INTERLEAVED" or "PREFER_SINGLE_NODE"',
  (value: unknown): 'INTERLEAVED' | 'PREFER_SINGLE_NODE' => {
    const name =
      value === 0
        ? 'PREFER_SINGLE_NODE'
        : value === 1
          ? 'INTERLEAVED'
          : typeof value === 'string'
            ? value.toUpperCase()
            : '';
    if (name === 'INTERLEAVED' || name === 'PREFER_SINGLE_NODE') return name;
    throw new Error(`Invalid affinity policy: ${String(value)}`);
  },
);
