import { isTable } from './formats.js';
import { nearestKey } from './nearest-key.js';
import type { ConfigProblem, ConfigWarning, Position } from './problems.js';
import {
  KNOWN_UNUSED_KEYS,
  KNOWN_UNUSED_SECTIONS,
  SCHEMA,
  type KeyDefinition,
  type SectionName,
} from './schema.js';
import type { RawTable } from './toml-document.js';

/** A value as written, with its place. */
export interface RawValue {
  readonly value: unknown;
  readonly origin: string;
  readonly position: Position | undefined;
  /** The key as a reader of the file would name it. */
  readonly label: string;
}

/** `agent.backend` -> what the file says. */
export type RawValues = ReadonlyMap<string, RawValue>;

/** Where a table of the file came from, and how to point into it. */
export interface Source {
  readonly origin: string;
  positionOf(path: readonly (string | number)[]): Position | undefined;
}

export interface ReadSections {
  readonly values: RawValues;
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly ConfigWarning[];
}

const sectionNames = Object.keys(SCHEMA) as SectionName[];

/** Reads the tables of one file, or of one `[[agents]]` entry, into dotted keys in canonical spelling. */
export function readSections(
  table: RawTable,
  source: Source,
  options: { readonly path?: readonly (string | number)[]; readonly perAgentOnly?: boolean } = {},
): ReadSections {
  const path = options.path ?? [];
  const values = new Map<string, RawValue>();
  const problems: ConfigProblem[] = [];
  const warnings: ConfigWarning[] = [];
  const at = (inner: readonly (string | number)[]) => {
    const position = source.positionOf([...path, ...inner]);
    return { origin: source.origin, ...(position ? { position } : {}) };
  };
  for (const [rawSection, content] of Object.entries(table)) {
    const section = sectionNames.find((name) => name === kebab(rawSection));
    if (!section) {
      const unused =
        options.perAgentOnly === true
          ? rawSection === 'resource'
          : KNOWN_UNUSED_SECTIONS.has(kebab(rawSection));
      if (!unused)
        warnings.push({
          key: label(path, rawSection),
          message: 'unknown section',
          ...at([rawSection]),
          ...hint(kebab(rawSection), sectionNames),
        });
      continue;
    }
    // `[agents.resource]` has keys of its own, read by the allocation modes.
    if (options.perAgentOnly === true && section === 'resource') continue;
    if (!isTable(content)) {
      problems.push({ key: label(path, section), message: 'expected a table', ...at([rawSection]) });
      continue;
    }
    const definitions = definitionsOf(section);
    for (const [rawKey, value] of Object.entries(content)) {
      const name = canonicalKey(definitions, rawKey);
      const where = at([rawSection, rawKey]);
      const shown = label(path, `${section}.${rawKey}`);
      if (name === undefined) {
        if (!KNOWN_UNUSED_KEYS[section].includes(kebab(rawKey)))
          warnings.push({
            key: shown,
            message: 'unknown key',
            ...where,
            ...hint(kebab(rawKey), [...Object.keys(definitions), ...KNOWN_UNUSED_KEYS[section]]),
          });
      } else if (options.perAgentOnly === true && definitions[name]?.perAgent !== true)
        warnings.push({ key: shown, message: 'cannot be set for one agent; ignored here', ...where });
      else
        values.set(`${section}.${name}`, {
          value,
          label: shown,
          origin: source.origin,
          position: where.position,
        });
    }
  }
  return { values, problems, warnings };
}

export const definitionsOf = (section: SectionName): Readonly<Record<string, KeyDefinition>> =>
  SCHEMA[section];

/** Canonical keys come first, aliases in their listed order, so that the earlier spelling wins when both stand. */
function canonicalKey(
  definitions: Readonly<Record<string, KeyDefinition>>,
  rawKey: string,
): string | undefined {
  const name = kebab(rawKey);
  if (Object.hasOwn(definitions, name)) return name;
  return Object.keys(definitions).find(
    (candidate) => definitions[candidate]?.aliases?.includes(name) === true,
  );
}

const kebab = (name: string): string => name.replaceAll('_', '-');

const label = (path: readonly (string | number)[], name: string): string =>
  path.length === 0
    ? name
    : `${path.map((part) => (typeof part === 'number' ? `[${String(part)}]` : part)).join('')}.${name}`;

function hint(typed: string, known: readonly string[]): { hint?: string } {
  const nearest = nearestKey(typed, known);
  return nearest === undefined ? {} : { hint: `did you mean "${nearest}"?` };
}
