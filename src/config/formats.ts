import { isIP } from 'node:net';

/** Parsers of configuration values (spec/config-and-resources.md 1.2). Each throws an Error that says what is expected. */

export interface HostPort {
  /** Empty: to be detected. */
  readonly host: string;
  readonly port: number;
}

export function parseHostPort(value: unknown): HostPort {
  const { host, port } = hostAndPort(value);
  if (!/^\d+$/.test(port.trim())) throw new Error('port number must be an integer');
  const number = Number(port);
  if (number < 1 || number > 65_535) throw new Error('port number must be between 1 and 65535');
  const bare = host.replace(/^\[|\]$/g, '');
  return { host: isIP(bare) === 0 ? host : bare, port: number };
}

function hostAndPort(value: unknown): { host: string; port: string } {
  if (typeof value === 'string') {
    const colon = value.lastIndexOf(':');
    if (colon < 0) throw new Error('value as string must contain both address and number');
    return { host: value.slice(0, colon), port: value.slice(colon + 1) };
  }
  if (Array.isArray(value)) {
    if (value.length !== 2)
      throw new Error('value as array must contain only two values for address and number');
    return { host: String(value[0]), port: String(value[1]) };
  }
  if (isTable(value)) {
    if (!('host' in value) || !('port' in value))
      throw new Error('value as map must contain "host" and "port" keys');
    return { host: String(value['host']), port: String(value['port']) };
  }
  throw new Error('expected "host:port", [host, port] or { host, port }');
}

export const formatHostPort = ({ host, port }: HostPort): string =>
  `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;

export function parseHostPortList(value: unknown): readonly HostPort[] {
  return Array.isArray(value) ? value.map(parseHostPort) : [parseHostPort(value)];
}

export function parseBoolean(value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  const word = String(value).toLowerCase();
  if (['1', 'true', 'yes', 'on', 't', 'y'].includes(word)) return true;
  if (['0', 'false', 'no', 'off', 'f', 'n'].includes(word)) return false;
  throw new Error('expected true or false');
}

export function parseInteger(value: unknown): number {
  if (typeof value === 'boolean') return value ? 1 : 0;
  const number = typeof value === 'number' || typeof value === 'bigint' ? Number(value) : integralText(value);
  if (!Number.isSafeInteger(number)) throw new Error('expected an integer');
  return number;
}

const integralText = (value: unknown): number =>
  typeof value === 'string' && /^[+-]?\d+(\.0*)?$/.test(value.trim()) ? Number(value) : Number.NaN;

export function integerBetween(lowest: number, highest: number): (value: unknown) => number {
  return (value) => {
    const number = parseInteger(value);
    if (number < lowest || number > highest)
      throw new Error(`expected an integer from ${String(lowest)} to ${String(highest)}`);
    return number;
  };
}

export function parseNonNegative(value: unknown): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isFinite(number) || number < 0)
    throw new Error('expected a number, zero or more');
  return number;
}

export function parseText(value: unknown): string {
  if (typeof value !== 'string') throw new Error('expected a string');
  return value;
}

export function oneOf<Choice extends string>(...choices: readonly Choice[]): (value: unknown) => Choice {
  return (value) => {
    const found = choices.find((choice) => choice === value);
    if (found === undefined)
      throw new Error(`expected one of ${choices.map((choice) => `"${choice}"`).join(', ')}`);
    return found;
  };
}

/** Lets null through: the key is absent or switched off. */
export const optional =
  <T>(parse: (value: unknown) => T) =>
  (value: unknown): T | null =>
    value === null ? null : parse(value);

const SIZE = /^(\d+(?:\.\d+)?)\s*([kmgtpe]?)(?:i?b)?$/i;

/** `64M`, `1.5g`, `1 GiB` or a whole number of bytes; suffixes are powers of 1024 (spec 4.2). */
export function parseSizeBytes(value: unknown): number {
  if (typeof value === 'number' || typeof value === 'bigint') {
    if (!Number.isSafeInteger(Number(value)) || Number(value) < 0)
      throw new Error('expected whole bytes, zero or more');
    return Number(value);
  }
  if (typeof value === 'string' && /^inf(inite|inity)?$/i.test(value))
    throw new Error('infinite values are not allowed');
  const match = typeof value === 'string' ? SIZE.exec(value.trim().replaceAll('_', '')) : null;
  if (!match) throw new Error('expected a size such as "64M" or "1.5G", or whole bytes');
  return Math.trunc(Number(match[1]) * 1024 ** ' kmgtpe'.indexOf((match[2] || ' ').toLowerCase()));
}

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export function parsePortRange(value: unknown): PortRange {
  const pair = typeof value === 'string' ? value.split(/[-,]/) : value;
  if (!Array.isArray(pair) || pair.length !== 2)
    throw new Error('port_range must be a tuple of two integers');
  const [first, last] = pair.map((port) => Math.trunc(Number(port)));
  if (first === undefined || last === undefined || !isPort(first) || !isPort(last))
    throw new Error('port_range must be a tuple of two integers from 1 to 65535');
  if (first > last) throw new Error(`invalid port_range: start=${String(first)} > end=${String(last)}`);
  return { first, last };
}

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65_535;

/** A number; -1, empty and null stand for the process' own id. Names need the passwd database, which Node lacks. */
export function parseOwnerId(value: unknown): number | null {
  if (value === null || value === '' || value === -1 || value === '-1') return null;
  return parseInteger(value);
}

export function parseTable(value: unknown): Readonly<Record<string, unknown>> {
  if (!isTable(value)) throw new Error('expected a table');
  return value;
}

export function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
