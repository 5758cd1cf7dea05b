import { SCHEMA_KEYS } from './schema/index.js';

/** One key as documentation shows it. */
export interface ConfigKeyReference {
  /** Dotted name, such as `agent.rpc-listen-addr`. */
  readonly path: string;
  readonly doc: string;
  /** What its value may be, in words. */
  readonly expects: string;
  readonly unit: string | null;
  /** Raw, as it would stand in the file; null: unset. */
  readonly default: unknown;
  readonly aliases: readonly string[];
  readonly environment: string | null;
  readonly perAgent: boolean;
  readonly required: boolean;
  readonly secret: boolean;
  /** Accepted because an original file may have it. */
  readonly unused: boolean;
}

/** Every key of the file in order; the sample and the reference are made from it. */
export function configKeys(): readonly ConfigKeyReference[] {
  return SCHEMA_KEYS.map((key) => ({
    path: key.path,
    doc: key.doc,
    expects: key.parse.expects,
    unit: key.unit ?? null,
    default: key.default,
    aliases: key.aliases ?? [],
    environment: key.env ?? null,
    perAgent: key.perAgent === true,
    required: key.required === true,
    secret: key.secret === true,
    unused: key.unused === true,
  }));
}
