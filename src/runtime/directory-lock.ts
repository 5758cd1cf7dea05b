import { randomUUID } from 'node:crypto';
import { link, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { hasCode } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { StateDirectoryInUseError } from './errors.js';
import { identifyProcess, sameProcess } from './process-identity.js';
import type { ProcessIdentity } from './process-identity.js';

const holder = z.object({ pid: z.int().positive(), start: z.string().nullable() });

/** A takeover is itself under a lock, which may be left behind too; deeper than this something else is wrong. */
const MAX_DEPTH = 3;
/** Looks at a lock that keeps changing hands before giving up. */
const MAX_ATTEMPTS = 5;

/**
 * A lock file that names its holder. One whose holder is gone is taken over, by exactly one of those who try: only
 * who holds the lock of the takeover may replace it.
 */
export class DirectoryLock {
  readonly #file: string;
  readonly #content: string;

  private constructor(file: string, content: string) {
    this.#file = file;
    this.#content = content;
  }

  /** @throws StateDirectoryInUseError naming the process that holds it or is about to. */
  static async acquire(file: string, logger: Logger): Promise<DirectoryLock> {
    const self = (await identifyProcess(process.pid)) ?? { pid: process.pid, start: null };
    return await DirectoryLock.#acquire(file, self, logger, 0);
  }

  static async #acquire(
    file: string,
    self: ProcessIdentity,
    logger: Logger,
    depth: number,
  ): Promise<DirectoryLock> {
    const content = `${JSON.stringify({ ...self, nonce: randomUUID() })}\n`;
    for (let attempt = 0; attempt < MAX_ATTEMPTS && depth < MAX_DEPTH; attempt++) {
      if (await createWithContent(file, content)) return new DirectoryLock(file, content);
      const found = await readIfPresent(file);
      if (found === null) continue;
      const held = parseHolder(found);
      if (held && (await isAlive(held))) throw inUse(file, held);
      const takeover = await DirectoryLock.#acquire(`${file}.takeover`, self, logger, depth + 1);
      try {
        if ((await readIfPresent(file)) !== found) continue;
        await replaceWithContent(file, content);
      } finally {
        await takeover.release();
      }
      logger.warn('took over the lock of a daemon that is gone', { file, pid: held?.pid ?? null });
      return new DirectoryLock(file, content);
    }
    throw new StateDirectoryInUseError(`${file}: several processes compete for it; start one at a time`);
  }

  /** Removes the file if it is still ours. */
  async release(): Promise<void> {
    if ((await readIfPresent(this.#file)) === this.#content) await unlinkIfPresent(this.#file);
  }
}

/** Appears with its whole content or not at all. @returns false when the file exists. */
async function createWithContent(file: string, content: string): Promise<boolean> {
  const temporary = `${file}.${randomUUID()}`;
  await writeFile(temporary, content, { mode: 0o600 });
  try {
    await link(temporary, file);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  } finally {
    await unlinkIfPresent(temporary);
  }
}

async function replaceWithContent(file: string, content: string): Promise<void> {
  const temporary = `${file}.${randomUUID()}`;
  await writeFile(temporary, content, { mode: 0o600 });
  await rename(temporary, file);
}

async function isAlive(held: ProcessIdentity): Promise<boolean> {
  const now = await identifyProcess(held.pid);
  return now !== null && sameProcess(held, now);
}

function parseHolder(content: string): ProcessIdentity | null {
  try {
    return holder.parse(JSON.parse(content));
  } catch {
    return null;
  }
}

function inUse(file: string, held: ProcessIdentity): StateDirectoryInUseError {
  return new StateDirectoryInUseError(
    `process ${String(held.pid)} already works in this state directory (${file}): ` +
      'stop it first, or configure another state directory',
    { details: { file, pid: held.pid } },
  );
}

async function readIfPresent(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

async function unlinkIfPresent(file: string): Promise<void> {
  await unlink(file).catch((error: unknown) => {
    if (!hasCode(error, 'ENOENT')) throw error;
  });
}
