import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Something outside the project that a group of tests cannot do without, named by an environment variable. */
export interface Requirement {
  /** Where its path stands; `scripts/test` sets it for the Python interpreters. */
  readonly variable: string;
  /** What it is, for the reader of the message. */
  readonly what: string;
  /** A program that serves when the variable is not set: looked up on PATH. */
  readonly command?: string;
}

/** A Python interpreter whose environment has `callosum pyzmq msgpack python-snappy` (scripts/python-env). */
export const CALLOSUM_PYTHON: Requirement = {
  variable: 'SPLENIUM_CALLOSUM_PYTHON',
  what: 'a Python with the packages callosum, pyzmq, msgpack and python-snappy',
};

/** A Python interpreter with the original manager, agent and client 25.17.1 (scripts/original-env). */
export const ORIGINAL_PYTHON: Requirement = {
  variable: 'SPLENIUM_ORIGINAL_PYTHON',
  what: 'a Python with the original manager and agent 25.17.1',
};

/** The same for 26.9 (scripts/original-env --version 26.9.6). */
export const ORIGINAL_PYTHON_26: Requirement = {
  variable: 'SPLENIUM_ORIGINAL_PYTHON_26',
  what: 'a Python with the original manager and agent 26.9',
};

/** A tar archive of the root file system of a Debian 13 with Python (scripts/debian-root). */
export const DEBIAN_ROOT: Requirement = {
  variable: 'SPLENIUM_DEBIAN_ROOT',
  what: 'the root file system of a Debian',
};

/** The program `redis-server`; the test starts and stops its own. */
export const REDIS_SERVER: Requirement = {
  variable: 'SPLENIUM_REDIS_SERVER',
  what: 'a Redis server',
  command: 'redis-server',
};

/** The program `etcd`; the test starts and stops its own. */
export const ETCD_SERVER: Requirement = {
  variable: 'SPLENIUM_ETCD_SERVER',
  what: 'an etcd server',
  command: 'etcd',
};

let skippedGroups = 0;

/**
 * May a group of tests run? If not, it says so with the reason and how many groups of this file it concerns so far.
 * @throws Error on CI (`CI=true`), so that a broken environment cannot pass for a green run. `scripts/test` installs
 * what it can; what no script can bring (a Docker engine, a GPU) is `installable: false` and may be missing there too.
 */
export function requirement(what: string, met: boolean, { installable = true } = {}): boolean {
  if (met) return true;
  if (installable && process.env['CI'] === 'true') throw new Error(`cannot be skipped on CI: needs ${what}`);
  skippedGroups += 1;
  process.stderr.write(`SKIPPED (${String(skippedGroups)} so far in this file): needs ${what}\n`);
  return false;
}

/** The path that a requirement stands for; empty when there is none. */
export function pathOf({ variable, command }: Requirement): string {
  return process.env[variable] ?? (command === undefined ? '' : onPath(command));
}

/** Declares a group of tests that needs something from outside; its path is handed to the body. */
export function describeRequiring(required: Requirement, title: string, body: (value: string) => void): void {
  const value = pathOf(required);
  const needs = `${required.what}, named by ${required.variable}: ${title}`;
  const declare = requirement(needs, value !== '') ? describe : describe.skip;
  declare(title, () => {
    body(value);
  });
}

function onPath(command: string): string {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, command);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here.
    }
  }
  return '';
}
