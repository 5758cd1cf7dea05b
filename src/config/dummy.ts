import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode, messageOf } from '../core/errors.js';
import { ConfigError, type ConfigProblem, type ConfigWarning } from './problems.js';
import { type KeyDefinition, type TableDefinition, isTableDefinition } from './schema/definition.js';
import { DUMMY_SCHEMA, type WrittenDelay, type WrittenFailure } from './schema/dummy.js';
import { type RawValues, readTables } from './sections.js';
import { parseTomlDocument } from './toml-document.js';

export const DUMMY_FILE = 'agent.dummy.toml';

type Parsed<Keys> = {
  readonly [Name in keyof Keys]: Keys[Name] extends { readonly keys: infer Inner }
    ? Parsed<Inner>
    : Keys[Name] extends KeyDefinition<infer T>
      ? T
      : never;
};
type Written = Parsed<(typeof DUMMY_SCHEMA)['keys']>;

export type DummyDelay =
  | keyof Written['agent']['delay']
  | keyof Written['kernel-creation-ctx']['delay']
  | keyof Written['kernel']['delay']
  | keyof Written['splenium']['delay'];
export type DummyStep = keyof Written['splenium']['failure'];

/** The file of the dummy backend, ranges drawn. */
export interface DummyConfig {
  readonly delaysMs: Readonly<Record<DummyDelay, number>>;
  readonly images: {
    readonly present: readonly string[];
    readonly pullable: readonly string[];
    readonly missing: readonly string[];
  };
  readonly cores: number;
  readonly memoryBytes: number;
  readonly usesFakeRunner: boolean;
  readonly failures: Readonly<Record<DummyStep, WrittenFailure>>;
  readonly warnings: readonly ConfigWarning[];
}

/**
 * Reads `agent.dummy.toml` of the working directory, the one place it may be at. Tables that are absent have their
 * defaults.
 * @throws ConfigError with every problem at once, and when there is no such file.
 */
export async function loadDummyConfig(options: {
  readonly cwd: string;
  /** From 0 to 1; draws the one value of each range. Default: chance. */
  readonly random?: () => number;
}): Promise<DummyConfig> {
  const file = join(options.cwd, DUMMY_FILE);
  const document = parseTomlDocument(await readText(file), file);
  const source = {
    origin: file,
    positionOf: (path: readonly (string | number)[]) => document.positionOf(path),
  };
  const read = readTables(document.values, source, DUMMY_SCHEMA);
  const problems = [...read.problems];
  const written = parseTable(DUMMY_SCHEMA, '', read.values, file, problems) as Written;
  if (problems.length > 0) throw new ConfigError(problems);
  const { agent, kernel, splenium, 'kernel-creation-ctx': creation } = written;
  const { image, resource } = agent;
  return {
    delaysMs: {
      ...drawn(agent.delay, options.random ?? Math.random),
      ...drawn(creation.delay, options.random ?? Math.random),
      ...drawn(kernel.delay, options.random ?? Math.random),
      ...drawn(splenium.delay, options.random ?? Math.random),
    },
    images: {
      present: image['already-have'] ?? [],
      pullable: image['need-to-pull'] ?? [],
      missing: image.missing ?? [],
    },
    cores: resource.cpu['num-core'],
    memoryBytes: resource.memory.size,
    usesFakeRunner: kernel['use-fake-code-runner'],
    failures: splenium.failure,
    warnings: read.warnings,
  };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const message = hasCode(error, 'ENOENT')
      ? 'no such file: the dummy backend reads its settings from the working directory; an empty file will do'
      : messageOf(error);
    throw new ConfigError([{ key: '', message, origin: file }]);
  }
}

function parseTable(
  definition: TableDefinition,
  prefix: string,
  values: RawValues,
  file: string,
  problems: ConfigProblem[],
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(definition.keys).map(([name, inner]) => {
      const path = prefix === '' ? name : `${prefix}.${name}`;
      if (isTableDefinition(inner)) return [name, parseTable(inner, path, values, file, problems)];
      const written = values.get(path);
      try {
        return [name, inner.parse(written ? written.value : inner.default)];
      } catch (error) {
        const position = written?.positionOf();
        problems.push({
          key: written?.label ?? path,
          message: messageOf(error),
          origin: written?.origin ?? file,
          expected: inner.parse.expects,
          ...(position ? { position } : {}),
        });
        return [name, undefined];
      }
    }),
  );
}

/** Seconds of the file to milliseconds; of a range one value, for as long as the program runs. */
function drawn<Name extends string>(
  delays: Readonly<Record<Name, WrittenDelay>>,
  random: () => number,
): Record<Name, number> {
  const ms = (delay: WrittenDelay): number =>
    1000 * (typeof delay === 'number' ? delay : delay[0] + random() * (delay[1] - delay[0]));
  return Object.fromEntries(
    Object.entries<WrittenDelay>(delays).map(([name, delay]) => [name, ms(delay)]),
  ) as Record<Name, number>;
}
