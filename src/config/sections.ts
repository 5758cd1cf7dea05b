import { isTable } from './formats.js';
import { nearestKey } from './nearest-key.js';
import type { ConfigProblem, ConfigWarning, Position } from './problems.js';
import { type KeyDefinition, type TableDefinition, isTableDefinition } from './schema/definition.js';
import { SCHEMA } from './schema/index.js';
import { allocations } from './schema/resource.js';
import type { RawTable } from './toml-document.js';

/** A value as written, with its place. */
export interface RawValue {
  readonly value: unknown;
  readonly origin: string;
  /** Where the value, or a part of it, is written. */
  positionOf(part?: readonly (string | number)[]): Position | undefined;
  /** The key as a reader of the file would name it. */
  readonly label: string;
}

/** Dotted name of a key or table, such as `agent.backend` or `logging.file` -> what is written. */
export type RawValues = ReadonlyMap<string, RawValue>;

/** Where a table came from, and how to point into it. */
export interface Source {
  readonly origin: string;
  positionOf(path: readonly (string | number)[]): Position | undefined;
}

export interface ReadTables {
  readonly values: RawValues;
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly ConfigWarning[];
}

/** Where `[agents.resource]` of an entry and `[resource.allocations]` meet. */
export const ALLOCATIONS = 'resource.allocations';

/** Reads the tables of a file into dotted keys in canonical spelling; `[[agents]]` is left to `readAgentEntry`. */
export function readTables(
  table: RawTable,
  source: Source,
  definition: TableDefinition = SCHEMA,
): ReadTables {
  const reader = new TableReader(source, [], false);
  const shared = Object.entries(table).filter(([name]) => name !== 'agents');
  reader.read(Object.fromEntries(shared), definition, '', []);
  return reader;
}

/** Reads one entry of `[[agents]]`: `agent`, `container`, and `resource` with the keys of `[resource.allocations]`. */
export function readAgentEntry(entry: RawTable, source: Source, index: number): ReadTables {
  const path = ['agents', index];
  const reader = new TableReader(source, path, true);
  const { resource, ...rest } = entry;
  const { agent, container } = SCHEMA.keys;
  reader.read(rest, { doc: '', keys: { agent, container } }, '', path);
  if (resource !== undefined) reader.readTable(resource, allocations, ALLOCATIONS, [...path, 'resource']);
  if (isTable(resource))
    for (const [name, definition] of Object.entries(allocations.keys))
      if (definition.required === true && !reader.values.has(`${ALLOCATIONS}.${name}`))
        reader.complain([...path, 'resource', name], 'required, but absent', [...path, 'resource']);
  return reader;
}

class TableReader implements ReadTables {
  readonly values = new Map<string, RawValue>();
  readonly problems: ConfigProblem[] = [];
  readonly warnings: ConfigWarning[] = [];
  readonly #source: Source;
  readonly #root: readonly (string | number)[];
  readonly #perAgentOnly: boolean;

  constructor(source: Source, root: readonly (string | number)[], perAgentOnly: boolean) {
    this.#source = source;
    this.#root = root;
    this.#perAgentOnly = perAgentOnly;
  }

  /** `prefix`: dotted name of the table; `path`: its keys as written. */
  read(
    table: RawTable,
    definition: TableDefinition,
    prefix: string,
    path: readonly (string | number)[],
    allowed = !this.#perAgentOnly,
  ): void {
    const known = new Set<string>();
    for (const [name, inner] of Object.entries(definition.keys)) {
      const written = spellings(name, inner).filter((spelling) => Object.hasOwn(table, spelling));
      for (const spelling of written) known.add(spelling);
      const [chosen, ...ignored] = written;
      if (chosen === undefined) continue;
      for (const spelling of ignored)
        this.#warn([...path, spelling], `ignored, because "${chosen}" is given too`);
      const full = prefix === '' ? name : `${prefix}.${name}`;
      const permitted = allowed || inner.perAgent === true;
      if (isTableDefinition(inner)) this.readTable(table[chosen], inner, full, [...path, chosen], permitted);
      else if (permitted) this.#set(full, table[chosen], [...path, chosen]);
      else this.#warn([...path, chosen], 'cannot be set for one agent; ignored here');
    }
    for (const rawKey of Object.keys(table))
      if (!known.has(rawKey)) this.#warnUnknown(rawKey, definition, path);
  }

  readTable(
    content: unknown,
    definition: TableDefinition,
    prefix: string,
    path: readonly (string | number)[],
    allowed = true,
  ): void {
    if (!isTable(content)) {
      this.complain(path, 'expected a table');
      return;
    }
    this.#set(prefix, content, path);
    this.read(content, definition, prefix, path, allowed);
  }

  complain(path: readonly (string | number)[], message: string, place = path): void {
    this.problems.push({ key: labelOf(path), message, ...this.#at(place) });
  }

  #set(name: string, value: unknown, path: readonly (string | number)[]): void {
    this.values.set(name, {
      value,
      label: labelOf(path),
      origin: this.#source.origin,
      positionOf: (part = []) => this.#source.positionOf([...path, ...part]) ?? this.#source.positionOf(path),
    });
  }

  #warn(path: readonly (string | number)[], message: string): void {
    this.warnings.push({ key: labelOf(path), message, ...this.#at(path) });
  }

  #warnUnknown(rawKey: string, definition: TableDefinition, path: readonly (string | number)[]): void {
    const isSection = path.length === this.#root.length;
    const names = Object.entries(definition.keys).flatMap(([name, inner]) => [
      name,
      ...(inner.aliases ?? []),
    ]);
    const nearest = nearestKey(kebab(rawKey), names);
    const shared = isSection && this.#perAgentOnly && Object.hasOwn(SCHEMA.keys, kebab(rawKey));
    this.warnings.push({
      key: labelOf([...path, rawKey]),
      message: shared
        ? 'cannot be set for one agent; ignored here'
        : `unknown ${isSection ? 'section' : 'key'}`,
      ...this.#at([...path, rawKey]),
      ...(nearest === undefined || shared ? {} : { hint: `did you mean "${nearest}"?` }),
    });
  }

  #at(path: readonly (string | number)[]): { origin: string; position?: Position } {
    const position = this.#source.positionOf(path);
    return { origin: this.#source.origin, ...(position ? { position } : {}) };
  }
}

/** The canonical name first, then aliases in their listed order, so that the earlier one wins when both stand. */
function spellings(name: string, definition: KeyDefinition | TableDefinition): readonly string[] {
  const all = [name, ...(definition.aliases ?? [])].flatMap((spelling) => [
    spelling,
    spelling.replaceAll('-', '_'),
  ]);
  return [...new Set(all)];
}

const kebab = (name: string): string => name.replaceAll('_', '-');

/** `['agents', 1, 'agent', 'id']` -> `agents[1].agent.id`. */
function labelOf(path: readonly (string | number)[]): string {
  return path
    .map((part, index) => (typeof part === 'number' ? `[${String(part)}]` : index === 0 ? part : `.${part}`))
    .join('');
}
