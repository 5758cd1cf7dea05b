import type { Parser } from '../parser.js';

/** One key of the file: how it is read, what stands in when it is absent, and what it means. */
export interface KeyDefinition<T = unknown> {
  readonly doc: string;
  readonly parse: Parser<T>;
  /** Raw value, as it would stand in the file; goes through `parse` like any other. Null: unset. */
  readonly default: unknown;
  /** Of a plain number: `s`, `ms`, `bytes`, `cores`... */
  readonly unit?: string;
  readonly aliases?: readonly string[];
  /** Environment variable that wins over the file (spec/config-and-resources.md 1.4). */
  readonly env?: string;
  /** May an `[[agents]]` entry override it? */
  readonly perAgent?: true;
  readonly secret?: true;
  /** Has no default: must stand wherever its table stands. */
  readonly required?: true;
  /** Names a file that must exist. */
  readonly file?: true;
  /** Read and checked, because an original file may have it; this program does not act on it. */
  readonly unused?: true;
  /** What the sample file shows for a key without a default. */
  readonly example?: unknown;
  /** What the sample file sets, not commented out. */
  readonly sample?: unknown;
}

/** A table of the file with the keys it knows. */
export interface TableDefinition {
  readonly doc: string;
  readonly keys: Readonly<Record<string, KeyDefinition | TableDefinition>>;
  readonly aliases?: readonly string[];
  /** Stands for something only when it is written; then its required keys must stand too. */
  readonly optional?: true;
  /** An `[[agents]]` entry may replace it as a whole: keys it leaves out fall back to their defaults. */
  readonly perAgent?: true;
  readonly unused?: true;
}

export const isTableDefinition = (
  definition: KeyDefinition | TableDefinition,
): definition is TableDefinition => 'keys' in definition;

type MoreOfKey<T> = Omit<KeyDefinition<T>, 'doc' | 'parse' | 'default'>;

export const key = <T>(
  doc: string,
  parse: Parser<T>,
  fallback: unknown,
  more: MoreOfKey<T> = {},
): KeyDefinition<T> => ({ doc, parse, default: fallback, ...more });

/** `keys` keep their types, so that reading `agent.backend` gives what its parser gives. */
export const table = <const Keys extends TableDefinition['keys']>(
  doc: string,
  keys: Keys,
  more: Omit<TableDefinition, 'doc' | 'keys'> = {},
): Omit<TableDefinition, 'keys'> & { readonly keys: Keys } => ({ doc, keys, ...more });

export const perAgent = { perAgent: true } as const;
export const unused = { unused: true } as const;
