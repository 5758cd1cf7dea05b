import convict from 'convict';
import { messageOf } from '../core/errors.js';
import type { ConfigProblem } from './problems.js';
import { SCHEMA, type KeyDefinition, type SectionName } from './schema.js';
import { definitionsOf, type RawValues } from './sections.js';
import type { ConfigEntry } from './types.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Every key parsed: what the file says, what the environment overrides, what the schema falls back to. */
export interface EffectiveValues {
  get(section: SectionName, key: string): unknown;
  readonly entries: readonly ConfigEntry[];
  readonly problems: readonly ConfigProblem[];
}

/** Lays file and environment over the defaults with convict, then parses every value and collects all complaints. */
export function effectiveValues(raw: RawValues, env: Environment): EffectiveValues {
  const layered = convict(convictSchema(), { env: definedOnly(env), args: [] });
  const parsed = new Map<string, unknown>();
  const entries: ConfigEntry[] = [];
  const problems: ConfigProblem[] = [];
  for (const section of Object.keys(SCHEMA) as SectionName[])
    for (const [key, definition] of Object.entries(definitionsOf(section))) {
      const path = `${section}.${key}`;
      const written = raw.get(path);
      const fromEnvironment = definition.env !== undefined && env[definition.env] !== undefined;
      if (written && !fromEnvironment) layered.set(path as never, written.value as never);
      const value: unknown = layered.get(path as never);
      const origin = fromEnvironment ? `environment ${definition.env ?? ''}` : (written?.origin ?? 'default');
      entries.push({ key: path, value, origin, secret: definition.secret === true });
      try {
        if (definition.required === true && !written && !fromEnvironment)
          throw new Error('required, but absent');
        parsed.set(path, definition.parse(value));
      } catch (error) {
        const message =
          definition.secret === true ? messageOf(error) : `${messageOf(error)}${given(written, value)}`;
        const position = fromEnvironment ? undefined : written?.position;
        problems.push({ key: written?.label ?? path, message, origin, ...(position ? { position } : {}) });
      }
    }
  return { get: (section, key) => parsed.get(`${section}.${key}`), entries, problems };
}

const given = (written: unknown, value: unknown): string =>
  written === undefined ? '' : `, but given ${(JSON.stringify(value) ?? 'nothing').slice(0, 120)}`;

/** Formats are checked by `parse` above, where all complaints are collected; convict only layers. */
function convictSchema(): convict.Schema<Record<string, unknown>> {
  const property = (definition: KeyDefinition) => ({
    doc: definition.doc,
    format: '*',
    default: definition.default,
    nullable: true,
    ...(definition.env === undefined ? {} : { env: definition.env }),
    ...(definition.secret === true ? { sensitive: true } : {}),
  });
  const sections = Object.entries(SCHEMA).map(([section, keys]) => [
    section,
    Object.fromEntries(Object.entries(keys).map(([key, definition]) => [key, property(definition)])),
  ]);
  return Object.fromEntries(sections) as convict.Schema<Record<string, unknown>>;
}

function definedOnly(env: Environment): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined));
}
