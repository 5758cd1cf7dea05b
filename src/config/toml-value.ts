import { isTable } from './formats.js';

/** A value on one line of TOML; null, which TOML lacks, as `(unset)`. */
export function tomlValue(value: unknown): string {
  if (value === null || value === undefined) return '(unset)';
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : 'nan';
  if (Array.isArray(value)) return `[${value.map(tomlValue).join(', ')}]`;
  if (value instanceof Date) return value.toISOString();
  if (!isTable(value))
    return JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? Number(part) : part));
  const pairs = Object.entries(value).map(([name, part]) => `${tomlKey(name)} = ${tomlValue(part)}`);
  return pairs.length === 0 ? '{}' : `{ ${pairs.join(', ')} }`;
}

export const tomlKey = (name: string): string => (/^[\w-]+$/.test(name) ? name : JSON.stringify(name));
