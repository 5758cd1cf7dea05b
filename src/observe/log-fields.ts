import { messageOf } from '../core/errors.js';
import type { LogFields } from '../core/logger.js';
import { isSecretName } from '../core/secret-names.js';

/** What a line may hold of values that a peer controls. */
const MAX_DEPTH = 6;
const MAX_ENTRIES = 64;
const MAX_TEXT = 4096;

export const REDACTED = '[redacted]';

/** What every line has of itself. */
const RESERVED: ReadonlySet<string> = new Set(['time', 'level', 'message']);
const ASSIGNMENT = /^([A-Za-z_][A-Za-z0-9_.-]*)=/;

/**
 * Fields as a log line can carry them: plain JSON values of bounded depth and size. Secret-looking names are redacted
 * at every depth, `NAME=value` texts of environment lists included; a field with a name of the line itself gets an
 * underscore. Never throws and never changes its argument.
 */
export function plainFields(fields: LogFields): Record<string, unknown> {
  try {
    const entries = Object.entries(fields);
    return plainEntries(
      entries.map(([name, value]) => [RESERVED.has(name) ? `${name}_` : name, value]),
      0,
    );
  } catch (error) {
    return { fields: `[unprintable: ${messageOf(error)}]` };
  }
}

function plainEntries(
  entries: readonly (readonly [string, unknown])[],
  depth: number,
): Record<string, unknown> {
  const out = Object.fromEntries(
    entries
      .slice(0, MAX_ENTRIES)
      .map(([name, value]) => [name, isSecretName(name) ? redacted(value) : plainValue(value, depth + 1)]),
  );
  return entries.length > MAX_ENTRIES ? { ...out, '…': `${String(entries.length - MAX_ENTRIES)} more` } : out;
}

/** An absent secret is a fact worth seeing. */
const redacted = (value: unknown): unknown =>
  value === undefined || value === null || value === '' ? value : REDACTED;

function plainValue(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'string':
      return plainText(value);
    case 'bigint':
      return value.toString();
    case 'function':
    case 'symbol':
      return `[${typeof value}]`;
    case 'object':
      return value === null ? null : plainObject(value, depth);
    default:
      return value;
  }
}

function plainText(text: string): string {
  const name = ASSIGNMENT.exec(text)?.[1];
  if (name !== undefined && isSecretName(name)) return `${name}=${REDACTED}`;
  return text.length > MAX_TEXT
    ? `${text.slice(0, MAX_TEXT)}… (${String(text.length - MAX_TEXT)} more characters)`
    : text;
}

function plainObject(value: object, depth: number): unknown {
  if (value instanceof Uint8Array) return `[${String(value.byteLength)} bytes]`;
  if (depth > MAX_DEPTH) return '[deeper]';
  if (isError(value)) return plainError(value, depth);
  if ('toJSON' in value && typeof value.toJSON === 'function')
    return jsonOf(value as { toJSON(): unknown }, depth);
  if (Array.isArray(value) || value instanceof Set)
    return plainList([...(value as Iterable<unknown>)], depth);
  if (value instanceof Map)
    return plainEntries(
      [...(value as Map<unknown, unknown>)].map(([key, item]) => [String(key), item] as const),
      depth,
    );
  return plainEntries(Object.entries(value), depth);
}

function plainList(items: readonly unknown[], depth: number): unknown[] {
  const out = items.slice(0, MAX_ENTRIES).map((item) => plainValue(item, depth + 1));
  return items.length > MAX_ENTRIES ? [...out, `… (${String(items.length - MAX_ENTRIES)} more)`] : out;
}

function jsonOf(value: { toJSON(): unknown }, depth: number): unknown {
  try {
    return plainValue(value.toJSON(), depth + 1);
  } catch {
    return '[unprintable]';
  }
}

/** By shape: an error may come from another realm. */
const isError = (value: object): value is { message: string; stack: string } =>
  'message' in value &&
  typeof value.message === 'string' &&
  'stack' in value &&
  typeof value.stack === 'string';

function plainError(error: { message: string; stack: string }, depth: number): Record<string, unknown> {
  const { code, cause, details } = error as { code?: unknown; cause?: unknown; details?: unknown };
  const extras = Object.entries({ code, details, cause }).filter(([, extra]) => extra !== undefined);
  return {
    message: plainText(error.message),
    ...plainEntries(extras, depth),
    stack: plainText(error.stack),
  };
}
