import type { Environment } from './effective.js';
import { isTable } from './formats.js';
import type { RawValue, RawValues } from './sections.js';
import { SCHEMA_KEYS } from './schema/index.js';

/** What wins over the file besides the variables of single keys: pure functions from raw values to raw values. */

/** `BACKEND_AGENT_HOST_OVERRIDE` and `BACKEND_AGENT_PORT` replace one half of the address, however it is written. */
export function overrideRpcAddress(values: RawValues, env: Environment): RawValues {
  const host = env['BACKEND_AGENT_HOST_OVERRIDE'];
  const port = env['BACKEND_AGENT_PORT'];
  if (host === undefined && port === undefined) return values;
  const written = values.get('agent.rpc-listen-addr');
  const address = addressParts(written?.value ?? '0.0.0.0:6001');
  return new Map([
    ...values,
    standing(
      'agent.rpc-listen-addr',
      { host: host ?? address.host, port: port ?? address.port },
      `environment ${host === undefined ? 'BACKEND_AGENT_PORT' : 'BACKEND_AGENT_HOST_OVERRIDE'}`,
    ),
  ]);
}

/** A log level of the command line replaces the file's, and decides on debug mode (spec 1.6). */
export function overrideLogLevel(values: RawValues, level: string | undefined): RawValues {
  if (level === undefined || level.toUpperCase() === 'NOTSET') return values;
  const origin = 'command line --log-level';
  const packages = values.get('logging.pkg-ns')?.value;
  return new Map([
    ...values,
    standing('logging.level', level, origin),
    standing('debug.enabled', level.toUpperCase() === 'DEBUG', origin),
    ...(isTable(packages) ? [standing('logging.pkg-ns', { ...packages, 'ai.backend': level }, origin)] : []),
  ]);
}

/**
 * One agent's values: the shared ones, replaced by exactly what its entry writes (spec 1.9). A nested table of the
 * entry hides the shared one as a whole; only the allocations are merged key by key.
 */
export function overrideForAgent(shared: RawValues, own: RawValues, shallow: string): RawValues {
  const hidden = [...own.keys()].filter(
    (path) => path.includes('.') && path !== shallow && !SCHEMA_KEYS.some((key) => key.path === path),
  );
  const kept = [...shared].filter(([path]) => !hidden.some((table) => path.startsWith(`${table}.`)));
  return new Map([...kept, ...own]);
}

/** Variables stand for the whole process, so they do not hide what one agent sets for itself. */
export function environmentForAgent(env: Environment, own: RawValues): Environment {
  const hidden = new Set(
    SCHEMA_KEYS.filter(({ path }) => own.has(path)).map(({ env: variable }) => variable),
  );
  return Object.fromEntries(Object.entries(env).filter(([name]) => !hidden.has(name)));
}

export const standing = (path: string, value: unknown, origin: string): readonly [string, RawValue] => [
  path,
  { value, origin, positionOf: () => undefined, label: path },
];

function addressParts(value: unknown): { host: unknown; port: unknown } {
  if (isTable(value)) return { host: value['host'], port: value['port'] };
  if (Array.isArray(value)) return { host: value[0] as unknown, port: value[1] as unknown };
  const text = String(value);
  return { host: text.slice(0, text.lastIndexOf(':')), port: text.slice(text.lastIndexOf(':') + 1) };
}
