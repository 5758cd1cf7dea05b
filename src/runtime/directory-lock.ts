import { randomUUID } from 'node:crypto';
import { link, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { hasCode } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { StateDirectoryInUseError } from './errors.js';
import { identifyProcess, sameProcess } from './process-identity.js';
import type { ProcessIdentity } from './process-identity.js';

const holder = z.object({ pid: z.int().positive(), start: z.string().nullable() });

/** Takeovers of stale locks before giving up: each means that yet another process came first. */
const MAX_ATTEMPTS = 5;

/** A lock file that names its holder. One whose holder is gone is taken over. */
export class DirectoryLock {
  readonly #file: string;
  readonly #content: string;

  private constructor(file: string, content: string) {
    this.#file = file;
    this.#content = content;
  }

  /** @throws StateDirectoryInUseError naming the process that holds it. */
  static async acquire(file: string, logger: Logger): Promise<DirectoryLock> {
    const self = (await identifyProcess(process.pid)) ?? { pid: process.pid, start: null };
    const content = `${JSON.stringify(self)}\n`;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      if (await createWithContent(file, content)) return new DirectoryLock(file, content);
      const found = await readIfPresent(file);
      if (found === null) continue;
      const held = parseHolder(found);
      if (held && (await isAlive(held))) throw inUse(file, held);
      logger.warn('taking over the lock of a daemon that is gone', { file, pid: held?.pid ?? null });
      await removeExactly(file, found);
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

/**
 * Removes the file with this content. Moving it away first tells whether a competitor had already replaced it; then
 * its lock goes back.
 */
async function removeExactly(file: string, content: string): Promise<void> {
  const aside = `${file}.${randomUUID()}`;
  try {
    await rename(file, aside);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return;
    throw error;
  }
  if ((await readIfPresent(aside)) !== content)
    await link(aside, file).catch((error: unknown) => {
      if (!hasCode(error, 'EEXIST')) throw error;
    });
  await unlinkIfPresent(aside);
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
