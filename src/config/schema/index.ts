import { agent } from './agent.js';
import { api } from './api.js';
import { containerLogs } from './container-logs.js';
import { container } from './container.js';
import { debug } from './debug.js';
import { type KeyDefinition, type TableDefinition, isTableDefinition, table } from './definition.js';
import { etcd } from './etcd.js';
import { kernelLifecycles } from './kernel-lifecycles.js';
import { logging } from './logging.js';
import { docker, k8s, plugins } from './opaque.js';
import { otel } from './otel.js';
import { pyroscope } from './pyroscope.js';
import { redis } from './redis.js';
import { resource } from './resource.js';
import { serviceDiscovery } from './service-discovery.js';
import { splenium } from './splenium.js';
import { watcher } from './watcher.js';

/** Every key of the file, in the original's spelling and order of reading. `[[agents]]` stands beside it. */
export const SCHEMA = table('The configuration of one daemon.', {
  agent,
  container,
  resource,
  etcd,
  redis,
  'container-logs': containerLogs,
  api,
  'kernel-lifecycles': kernelLifecycles,
  debug,
  logging,
  splenium,
  plugins,
  docker,
  k8s,
  watcher,
  otel,
  pyroscope,
  'service-discovery': serviceDiscovery,
});

type Leaves<Keys, Prefix extends string = ''> = {
  [Name in keyof Keys & string]: Keys[Name] extends { readonly keys: infer Inner }
    ? Leaves<Inner, `${Prefix}${Name}.`>
    : Keys[Name] extends KeyDefinition<infer T>
      ? readonly [`${Prefix}${Name}`, T]
      : never;
}[keyof Keys & string];

type Leaf = Leaves<(typeof SCHEMA)['keys']>;
/** Dotted name of a key, such as `agent.backend`. */
export type KeyPath = Leaf[0];
/** What the parser of a key gives. */
export type ValueAt<Path extends KeyPath> = Extract<Leaf, readonly [Path, unknown]>[1];

/** One key with its dotted name and the tables around it. */
export interface SchemaKey extends KeyDefinition {
  readonly path: string;
  /** Dotted name of the nearest optional table around it; null: always there. */
  readonly optionalTable: string | null;
}

/** Every key in order. */
export const SCHEMA_KEYS: readonly SchemaKey[] = [...keysOf(SCHEMA, '', null, {})];

function* keysOf(
  definition: TableDefinition,
  prefix: string,
  optionalTable: string | null,
  inherited: { readonly perAgent?: true; readonly unused?: true },
): Generator<SchemaKey> {
  for (const [name, inner] of Object.entries(definition.keys)) {
    const path = prefix === '' ? name : `${prefix}.${name}`;
    const marks = {
      ...inherited,
      ...(inner.perAgent === true ? { perAgent: true as const } : {}),
      ...(inner.unused === true ? { unused: true as const } : {}),
    };
    if (isTableDefinition(inner))
      yield* keysOf(inner, path, inner.optional === true ? path : optionalTable, marks);
    else yield { ...inner, ...marks, path, optionalTable };
  }
}
