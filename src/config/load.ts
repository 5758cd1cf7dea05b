import { readFile, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { hasCode, messageOf } from '../core/errors.js';
import { compileConfig } from './compile.js';
import { type EffectiveValues, type Environment, effectiveValues } from './effective.js';
import { isTable } from './formats.js';
import { ConfigError, type ConfigProblem, type ConfigWarning } from './problems.js';
import { type RawValue, type RawValues, type Source, readSections } from './sections.js';
import { type RawTable, parseTomlDocument } from './toml-document.js';
import type { DaemonConfig } from './types.js';

export interface LoadOptions {
  /** The file given on the command line; absent: searched for. */
  readonly path?: string;
  readonly env: Environment;
  readonly cwd: string;
  readonly home: string;
}

export interface LoadedConfig {
  readonly config: DaemonConfig;
  readonly warnings: readonly ConfigWarning[];
}

/**
 * Reads, layers and checks the configuration (spec/config-and-resources.md 1).
 * @throws ConfigError with every problem at once.
 */
export async function loadConfig(options: LoadOptions): Promise<LoadedConfig> {
  const file = await findConfigFile(options);
  const document = parseTomlDocument(await readText(file), file);
  const source: Source = { origin: file, positionOf: (path) => document.positionOf(path) };
  const global = readSections(document.values, source);
  const problems: ConfigProblem[] = [...global.problems];
  const warnings: ConfigWarning[] = [...global.warnings];
  const base = overrideRpcAddress(global.values, options.env);

  const agents: EffectiveValues[] = [];
  const shared = effectiveValues(base, options.env);
  problems.push(...shared.problems);
  for (const [index, entry] of agentEntries(document.values).entries()) {
    const read = readSections(entry, source, { path: ['agents', index], perAgentOnly: true });
    problems.push(...read.problems);
    warnings.push(...read.warnings);
    const merged: RawValues = new Map([...base, ...read.values]);
    // Environment variables stand for the whole process, so they do not hide what one agent sets for itself.
    const values = effectiveValues(merged, read.values.size > 0 ? {} : options.env);
    const own = new Set([...read.values.values()].map(({ label }) => label));
    problems.push(...values.problems.filter(({ key }) => own.has(key)));
    agents.push(values);
  }
  const compiled = compileConfig({ file, shared, agents, raw: document.values, source, options });
  problems.push(...compiled.problems);
  warnings.push(...compiled.warnings);
  if (problems.length > 0 || compiled.config === null) throw new ConfigError(problems);
  return { config: compiled.config, warnings };
}

/** `BACKEND_CONFIG_FILE` alone, when set; else the first of the places of spec 1.3. */
async function findConfigFile({ path, env, cwd, home }: LoadOptions): Promise<string> {
  const named = path ?? (env['BACKEND_CONFIG_FILE'] === '' ? undefined : env['BACKEND_CONFIG_FILE']);
  if (named !== undefined) return resolve(cwd, named);
  const candidates = [join(cwd, 'agent.toml')];
  for (let directory = dirname(cwd); isInside(directory, home); directory = dirname(directory)) {
    if (await exists(join(directory, 'BUILD_ROOT'))) candidates.push(join(directory, 'agent.toml'));
    if (directory === home) break;
  }
  candidates.push(join(home, '.config', 'backend.ai', 'agent.toml'), '/etc/backend.ai/agent.toml');
  for (const candidate of candidates) if (await exists(candidate)) return candidate;
  throw new ConfigError([
    { key: '', message: `Could not read config from: ${candidates.join(', ')}`, origin: 'search' },
  ]);
}

const isInside = (directory: string, home: string): boolean => !relative(home, directory).startsWith('..');

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isFile(),
    () => false,
  );

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const message = hasCode(error, 'ENOENT') ? 'no such file' : messageOf(error);
    throw new ConfigError([{ key: '', message, origin: file }]);
  }
}

function agentEntries(values: RawTable): RawTable[] {
  const entries = values['agents'];
  return Array.isArray(entries) ? entries.filter(isTable) : [];
}

/** `BACKEND_AGENT_HOST_OVERRIDE` and `BACKEND_AGENT_PORT` replace one half of the address, however it is written. */
function overrideRpcAddress(values: RawValues, env: Environment): RawValues {
  const host = env['BACKEND_AGENT_HOST_OVERRIDE'];
  const port = env['BACKEND_AGENT_PORT'];
  if (host === undefined && port === undefined) return values;
  const written = values.get('agent.rpc-listen-addr');
  const address = addressParts(written?.value ?? '0.0.0.0:6001');
  const override: RawValue = {
    value: { host: host ?? address.host, port: port ?? address.port },
    origin: `environment ${host === undefined ? 'BACKEND_AGENT_PORT' : 'BACKEND_AGENT_HOST_OVERRIDE'}`,
    position: undefined,
    label: 'agent.rpc-listen-addr',
  };
  return new Map([...values, ['agent.rpc-listen-addr', override]]);
}

function addressParts(value: unknown): { host: unknown; port: unknown } {
  if (isTable(value)) return { host: value['host'], port: value['port'] };
  if (Array.isArray(value)) return { host: value[0] as unknown, port: value[1] as unknown };
  const text = String(value);
  return { host: text.slice(0, text.lastIndexOf(':')), port: text.slice(text.lastIndexOf(':') + 1) };
}
