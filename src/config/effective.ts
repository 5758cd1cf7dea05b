import convict from 'convict';
import { InvariantError, messageOf } from '../core/errors.js';
import { partPath } from './parser.js';
import type { ConfigProblem, Position } from './problems.js';
import { type KeyDefinition, type TableDefinition, isTableDefinition } from './schema/definition.js';
import { type KeyPath, SCHEMA, SCHEMA_KEYS, type SchemaKey, type ValueAt } from './schema/index.js';
import type { RawValue, RawValues } from './sections.js';
import type { ConfigEntry } from './types.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Every key parsed: what the file says, what the environment overrides, what the schema falls back to. */
export interface EffectiveValues {
  /** @throws InvariantError for a key that did not parse, or of an optional table that is absent. */
  get<Path extends KeyPath>(path: Path): ValueAt<Path>;
  /** Did the key parse? */
  has(path: KeyPath): boolean;
  /** Is the key or table written, or set by the environment? */
  isWritten(path: string): boolean;
  /** Where the key comes from, to complain about it. */
  place(path: string): { readonly key: string; readonly origin: string; readonly position?: Position };
  readonly entries: readonly ConfigEntry[];
  readonly problems: readonly ConfigProblem[];
}

/** Lays file and environment over the defaults with convict, then parses every value and collects all complaints. */
export function effectiveValues(raw: RawValues, env: Environment): EffectiveValues {
  const layered = convict(convictSchema(SCHEMA) as convict.Schema<Record<string, unknown>>, {
    env: definedOnly(env),
    args: [],
  });
  const parsed = new Map<string, unknown>();
  const entries: ConfigEntry[] = [];
  const problems: ConfigProblem[] = [];
  for (const key of SCHEMA_KEYS) {
    if (key.optionalTable !== null && !raw.has(key.optionalTable)) continue;
    const variable = key.env !== undefined && env[key.env] !== undefined ? key.env : undefined;
    const written = variable === undefined ? raw.get(key.path) : undefined;
    if (written) layered.set(key.path as never, written.value as never);
    const value: unknown = layered.get(key.path as never);
    entries.push({
      key: key.path,
      value,
      origin: variable === undefined ? originOf(written) : `environment ${variable}`,
      secret: key.secret === true,
      unused: key.unused === true,
    });
    try {
      if (key.required === true && !written && variable === undefined)
        throw new Error('required, but absent');
      parsed.set(key.path, key.parse(value));
    } catch (error) {
      problems.push(problemOf(key, value, error, written, variable, raw));
    }
  }
  return {
    get: <Path extends KeyPath>(path: Path) => {
      if (!parsed.has(path)) throw new InvariantError(`configuration key ${path} is not there`);
      return parsed.get(path) as ValueAt<Path>;
    },
    has: (path) => parsed.has(path),
    isWritten: (path) => raw.has(path) || isFromEnvironment(path, env),
    place: (path) => placeOf(path, raw, env),
    entries,
    problems,
  };
}

const originOf = (written: RawValue | undefined): string => {
  if (!written) return 'default';
  const position = written.positionOf();
  return position ? `${written.origin}:${String(position.line)}` : written.origin;
};

function problemOf(
  key: SchemaKey,
  value: unknown,
  error: unknown,
  written: RawValue | undefined,
  variable: string | undefined,
  raw: RawValues,
): ConfigProblem {
  const given =
    key.secret === true || (!written && variable === undefined) ? '' : `, but given ${shown(value)}`;
  // An absent key of a table that stands is missed at the table.
  const dot = key.path.lastIndexOf('.');
  const around = raw.get(key.path.slice(0, dot));
  const position = (written ?? (variable === undefined ? around : undefined))?.positionOf(
    written ? partPath(error) : [],
  );
  return {
    key: written?.label ?? (around ? `${around.label}${key.path.slice(dot)}` : key.path),
    message: messageOf(error).includes('but given') ? messageOf(error) : `${messageOf(error)}${given}`,
    origin:
      variable === undefined ? (written?.origin ?? around?.origin ?? 'default') : `environment ${variable}`,
    expected: key.parse.expects,
    ...(position ? { position } : {}),
  };
}

function placeOf(path: string, raw: RawValues, env: Environment) {
  const variable = SCHEMA_KEYS.find((key) => key.path === path)?.env;
  if (variable !== undefined && env[variable] !== undefined)
    return { key: path, origin: `environment ${variable}` };
  const written = raw.get(path);
  if (!written) return { key: path, origin: 'default' };
  const position = written.positionOf();
  return { key: written.label, origin: written.origin, ...(position ? { position } : {}) };
}

const isFromEnvironment = (path: string, env: Environment): boolean =>
  SCHEMA_KEYS.some((key) => key.path === path && key.env !== undefined && env[key.env] !== undefined);

/** JSON where there is one, bounded. */
function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'bigint' ? String(part) : part,
  ).slice(0, 120);
}

/** Formats are checked by the parsers, where all complaints are collected; convict only layers. */
function convictSchema(definition: TableDefinition): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(definition.keys).map(([name, inner]) => [
      name,
      isTableDefinition(inner) ? convictSchema(inner) : property(inner),
    ]),
  );
}

const property = (definition: KeyDefinition) => ({
  doc: definition.doc,
  format: '*',
  default: definition.default,
  nullable: true,
  ...(definition.env === undefined ? {} : { env: definition.env }),
  ...(definition.secret === true ? { sensitive: true } : {}),
});

function definedOnly(env: Environment): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined));
}
