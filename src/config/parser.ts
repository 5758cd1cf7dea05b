/**
 * Reads one value of the file. Throws an Error that says what is wrong; `expects` says what would be right, for
 * problems, the sample file and the reference.
 */
export interface Parser<T> {
  (value: unknown): T;
  readonly expects: string;
}

/** A part of a map or list that is wrong, so that the problem points at the part. */
export class PartError extends Error {
  readonly path: readonly (string | number)[];

  constructor(path: readonly (string | number)[], message: string) {
    super(message);
    this.path = path;
  }
}

export const expecting = <T>(expects: string, parse: (value: unknown) => T): Parser<T> =>
  Object.assign((value: unknown) => parse(value), { expects });

/** Lets null through: the key is absent or switched off. */
export const optional = <T>(parse: Parser<T>): Parser<T | null> =>
  expecting(parse.expects, (value) => (value === null ? null : parse(value)));

/** Realm-safe test for a part that is wrong. */
export function partPath(error: unknown): readonly (string | number)[] {
  return typeof error === 'object' && error !== null && 'path' in error && Array.isArray(error.path)
    ? (error.path as readonly (string | number)[])
    : [];
}
