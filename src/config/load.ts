import { readFile, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { hasCode, messageOf } from '../core/errors.js';
import { type ConfigInput, compileConfig } from './compile.js';
import type { Environment } from './effective.js';
import { isTable } from './formats.js';
import { type HostFacts, readHostFacts } from './host-facts.js';
import { type Overlay, applyOverlay } from './overlay.js';
import { absolute } from './paths.js';
import { ConfigError, type ConfigProblem, type ConfigWarning } from './problems.js';
import { SCHEMA_KEYS } from './schema/index.js';
import { type RawValues, type Source, readAgentEntry, readTables } from './sections.js';
import { type RawTable, parseTomlDocument } from './toml-document.js';
import type { DaemonConfig } from './types.js';

export interface LoadOptions {
  /** The file given on the command line; absent: searched for. */
  readonly path?: string;
  readonly env: Environment;
  readonly cwd: string;
  readonly home: string;
  /** `--log-level`, or `DEBUG` for `--debug`: wins over `logging.level` and `debug.enabled`; absent or NOTSET: neither. */
  readonly logLevel?: string;
  /** Absent: this machine's. */
  readonly host?: HostFacts;
}

export interface LoadedConfig {
  readonly config: DaemonConfig;
  readonly warnings: readonly ConfigWarning[];
  /**
   * The same with what etcd holds laid over the file; the file is not read again.
   * @throws ConfigError when that cannot be used.
   */
  withOverlay(overlay: Overlay, origin?: string): LoadedConfig;
}

/**
 * Reads, layers and checks the configuration (spec/config-and-resources.md 1). Creates nothing.
 * @throws ConfigError with every problem at once.
 */
export async function loadConfig(options: LoadOptions): Promise<LoadedConfig> {
  const file = await findConfigFile(options);
  const document = parseTomlDocument(await readText(file), file);
  const source: Source = { origin: file, positionOf: (path) => document.positionOf(path) };
  const shared = readTables(document.values, source);
  const listed = agentEntries(document.values, source);
  const own = listed.entries.map((entry, index) => readAgentEntry(entry, source, index));
  const input: ConfigInput = {
    file,
    shared: shared.values,
    own: own.length === 0 ? null : own.map(({ values }) => values),
    env: options.env,
    cwd: options.cwd,
    home: options.home,
    host: options.host ?? (await readHostFacts()),
    ...(options.logLevel === undefined ? {} : { logLevel: options.logLevel }),
  };
  const problems = [
    ...[shared, ...own].flatMap((read) => read.problems),
    ...listed.problems,
    ...(await missingFiles(shared.values, options)),
  ];
  return compiled(
    input,
    problems,
    [shared, ...own].flatMap((read) => read.warnings),
  );
}

function compiled(
  input: ConfigInput,
  earlier: readonly ConfigProblem[],
  warnings: readonly ConfigWarning[],
): LoadedConfig {
  const { config, problems, warnings: more } = compileConfig(input);
  if (config === null || earlier.length > 0)
    throw new ConfigError(distinct([...earlier, ...problems]).sort(byPlace));
  return {
    config,
    warnings: [...warnings, ...more],
    withOverlay: (overlay, origin = 'etcd') => {
      const overlaid = applyOverlay(input.shared, overlay, origin);
      return compiled({ ...input, shared: overlaid.values }, [], [...warnings, ...overlaid.warnings]);
    },
  };
}

/** An entry's missing key is seen when it is read and again when it is laid over the shared ones. */
const distinct = (problems: readonly ConfigProblem[]): ConfigProblem[] => [
  ...new Map(problems.map((problem) => [`${problem.key}\0${problem.message}`, problem])).values(),
];

/** In the order of the file; what has no place stands first. */
const byPlace = (a: ConfigProblem, b: ConfigProblem): number =>
  (a.position?.line ?? 0) - (b.position?.line ?? 0) || (a.position?.column ?? 0) - (b.position?.column ?? 0);

async function missingFiles(values: RawValues, options: LoadOptions): Promise<ConfigProblem[]> {
  const problems: ConfigProblem[] = [];
  for (const { path, file } of SCHEMA_KEYS) {
    const written = values.get(path);
    if (file !== true || typeof written?.value !== 'string' || written.value === '') continue;
    if (await exists(absolute(written.value, options))) continue;
    const position = written.positionOf();
    problems.push({
      key: written.label,
      message: `no such file: ${written.value}`,
      origin: written.origin,
      ...(position ? { position } : {}),
    });
  }
  return problems;
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

function agentEntries(
  values: RawTable,
  source: Source,
): { readonly entries: readonly RawTable[]; readonly problems: readonly ConfigProblem[] } {
  const written = values['agents'];
  const problem = (message: string, path: readonly (string | number)[]): ConfigProblem => {
    const position = source.positionOf(path) ?? source.positionOf(['agents']);
    return { key: 'agents', message, origin: source.origin, ...(position ? { position } : {}) };
  };
  if (written === undefined) return { entries: [], problems: [] };
  if (!Array.isArray(written) || !written.every(isTable))
    return { entries: [], problems: [problem('expected an array of tables: [[agents]]', ['agents'])] };
  if (written.length === 1)
    return {
      entries: written,
      problems: [
        problem(
          'agents should not be specified with only 1 agent configuration. Please use the default single agent mode if only 1 agent is needed.',
          ['agents', 0],
        ),
      ],
    };
  return { entries: written, problems: [] };
}
