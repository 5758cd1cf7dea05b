import { messageOf } from '../core/errors.js';
import { isTable } from './formats.js';
import { standing } from './overrides.js';
import type { ConfigWarning } from './problems.js';
import { SCHEMA, SCHEMA_KEYS } from './schema/index.js';
import { type RawValues, readTables } from './sections.js';

/** What etcd holds under the prefixes that agents read, scopes merged; absent prefixes are left out. */
export interface Overlay {
  readonly 'config/redis'?: Readonly<Record<string, unknown>>;
  readonly 'config/agent'?: Readonly<Record<string, unknown>>;
  readonly 'config/container'?: Readonly<Record<string, unknown>>;
  readonly 'config/plugins/accelerator'?: Readonly<Record<string, unknown>>;
}

export interface OverlaidValues {
  readonly values: RawValues;
  readonly warnings: readonly ConfigWarning[];
}

/**
 * Lays shared configuration over the local one (spec/config-and-resources.md 1.5): `config/redis` and
 * `config/plugins/accelerator` replace their table; `config/agent` replaces `api`, `container-logs` and
 * `kernel-lifecycles` together, tables it lacks falling back to the defaults, or, with any error in it, nothing;
 * `config/container` replaces the two ids. Empty prefixes change nothing. Agents' own keys still win.
 */
export function applyOverlay(values: RawValues, overlay: Overlay, origin: string): OverlaidValues {
  const steps = [
    (before: RawValues) =>
      replaceTables(before, ['redis'], { redis: overlay['config/redis'] }, `${origin} config/redis`),
    (before: RawValues) => replaceAgentTables(before, overlay['config/agent'], origin),
    (before: RawValues) => replaceOwners(before, overlay['config/container'], origin),
    (before: RawValues) => replacePlugins(before, overlay['config/plugins/accelerator'], origin),
  ];
  const warnings: ConfigWarning[] = [];
  let after = values;
  for (const step of steps) {
    const done = step(after);
    after = done.values;
    warnings.push(...done.warnings);
  }
  return { values: after, warnings };
}

const AGENT_TABLES = ['api', 'container-logs', 'kernel-lifecycles'] as const;

function replaceAgentTables(values: RawValues, given: unknown, origin: string): OverlaidValues {
  if (!isTable(given) || Object.keys(given).length === 0) return { values, warnings: [] };
  const own = Object.fromEntries(
    AGENT_TABLES.map((name) => [name, given[name] ?? given[name.replaceAll('-', '_')] ?? {}]),
  );
  const replaced = replaceTables(values, AGENT_TABLES, own, `${origin} config/agent`);
  const complaint = replaced.complaints[0];
  if (complaint === undefined) return replaced;
  return {
    values,
    warnings: [{ key: 'config/agent', message: `etcd: agent-config error: ${complaint}`, origin }],
  };
}

/** Drops tables and puts others in their place; empty ones are skipped unless the caller says `{}` for all. */
function replaceTables(
  values: RawValues,
  names: readonly string[],
  given: Readonly<Record<string, unknown>>,
  origin: string,
): OverlaidValues & { readonly complaints: readonly string[] } {
  const tables = Object.fromEntries(Object.entries(given).filter(([, table]) => table !== undefined));
  if (
    Object.values(tables).every((table) => isTable(table) && Object.keys(table).length === 0) &&
    names.length === 1
  )
    return { values, warnings: [], complaints: [] };
  const read = readTables(tables, { origin, positionOf: () => undefined }, SCHEMA);
  const kept = [...values].filter(
    ([path]) => !names.some((name) => path === name || path.startsWith(`${name}.`)),
  );
  return {
    values: new Map([...kept, ...read.values]),
    warnings: [...read.warnings],
    complaints: [
      ...read.problems.map(({ key, message }) => `${key}: ${message}`),
      ...complaintsOf(read.values),
    ],
  };
}

function complaintsOf(values: RawValues): string[] {
  return SCHEMA_KEYS.flatMap(({ path, parse }) => {
    const written = values.get(path);
    if (!written) return [];
    try {
      parse(written.value);
      return [];
    } catch (error) {
      return [`${path}: ${messageOf(error)}`];
    }
  });
}

function replaceOwners(values: RawValues, given: unknown, origin: string): OverlaidValues {
  if (!isTable(given)) return { values, warnings: [] };
  const found = (['kernel-uid', 'kernel-gid'] as const).flatMap((name) => {
    const value = given[name] ?? given[name.replaceAll('-', '_')];
    return value === undefined ? [] : [standing(`container.${name}`, value, `${origin} config/container`)];
  });
  const complaint = complaintsOf(new Map(found))[0];
  if (complaint === undefined) return { values: new Map([...values, ...found]), warnings: [] };
  return { values, warnings: [{ key: 'config/container', message: complaint, origin }] };
}

function replacePlugins(values: RawValues, given: unknown, origin: string): OverlaidValues {
  if (!isTable(given) || Object.keys(given).length === 0) return { values, warnings: [] };
  return {
    values: new Map([...values, standing('plugins', given, `${origin} config/plugins/accelerator`)]),
    warnings: [],
  };
}
