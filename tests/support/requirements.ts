/** Something outside the project that a group of tests cannot do without. */
export interface Requirement {
  /** Environment variable that says where it is; `scripts/test` sets it. */
  readonly variable: string;
  /** What it is, for the reader of the message. */
  readonly what: string;
}

/** A Python interpreter whose environment has `callosum pyzmq msgpack python-snappy`. */
export const CALLOSUM_PYTHON: Requirement = {
  variable: 'SPLENIUM_CALLOSUM_PYTHON',
  what: 'a Python with the packages callosum, pyzmq, msgpack and python-snappy',
};

const skipped: string[] = [];

/**
 * Declares a group of tests that needs something from outside; its value is handed to the body. Where it is absent,
 * the group is skipped and says so with the reason and how many groups of the file it concerns so far; on CI
 * (`CI=true`) it fails instead, so that a broken environment cannot pass for a green run.
 */
export function describeRequiring(
  requirement: Requirement,
  title: string,
  body: (value: string) => void,
): void {
  const value = process.env[requirement.variable];
  if (value !== undefined && value !== '') {
    describe(title, () => {
      body(value);
    });
    return;
  }
  const reason = `${requirement.variable} is not set: it names ${requirement.what}`;
  if (process.env['CI'] === 'true') {
    test(title, () => {
      throw new Error(`cannot be skipped on CI: ${reason}`);
    });
    return;
  }
  skipped.push(title);
  process.stderr.write(`SKIPPED (${String(skipped.length)} so far in this file): ${title}: ${reason}\n`);
  describe.skip(title, () => {
    body('');
  });
}
