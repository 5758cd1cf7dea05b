/** Something outside the project that a group of tests cannot do without, named by an environment variable. */
export interface Requirement {
  /** `scripts/test` sets it. */
  readonly variable: string;
  /** What it is, for the reader of the message. */
  readonly what: string;
}

/** A Python interpreter whose environment has `callosum pyzmq msgpack python-snappy`. */
export const CALLOSUM_PYTHON: Requirement = {
  variable: 'SPLENIUM_CALLOSUM_PYTHON',
  what: 'a Python with the packages callosum, pyzmq, msgpack and python-snappy',
};

let skippedGroups = 0;

/**
 * May a group of tests run? If not, it says so with the reason and how many groups of this file it concerns so far.
 * @throws Error on CI (`CI=true`), so that a broken environment cannot pass for a green run.
 */
export function requirement(what: string, met: boolean): boolean {
  if (met) return true;
  if (process.env['CI'] === 'true') throw new Error(`cannot be skipped on CI: needs ${what}`);
  skippedGroups += 1;
  process.stderr.write(`SKIPPED (${String(skippedGroups)} so far in this file): needs ${what}\n`);
  return false;
}

/** Declares a group of tests that needs what a variable names; its value is handed to the body. */
export function describeRequiring(
  { variable, what }: Requirement,
  title: string,
  body: (value: string) => void,
): void {
  const value = process.env[variable] ?? '';
  const declare = requirement(`${what}, named by ${variable}: ${title}`, value !== '')
    ? describe
    : describe.skip;
  declare(title, () => {
    body(value);
  });
}
