import { randomUUID } from 'node:crypto';
import { link, readdir, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { hasCode, messageOf } from '../core/errors.js';
import { type AgentId, type KernelId, parseKernelId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { LOCK_DIRECTORY, partialOf } from './commit-places.js';

/** A process beyond its number, which the system gives out again. */
export interface LockHolder {
  readonly pid: number;
  /** When it began, in any form that two sightings share; null where the system does not tell. */
  readonly start: string | null;
}

/** Who this process is, and who else of this machine is still there; implemented by `runtime/process-identity`. */
export interface LockHolders {
  readonly self: LockHolder;
  isAlive(holder: LockHolder): Promise<boolean>;
}

interface CommitLockParts {
  readonly agentId: AgentId;
  /** Above all lock files. */
  readonly root: string;
  readonly holders: LockHolders;
  readonly logger: Logger;
}

export interface CommitLock {
  /** Idempotent. Never rejects. */
  release(): Promise<void>;
}

const ownerSchema = z.object({
  agentId: z.string(),
  kernelId: z.string().transform(parseKernelId),
  pid: z.int().positive(),
  start: z.string().nullable(),
});
type Owner = z.infer<typeof ownerSchema>;

/** Looks at a lock that keeps changing hands before giving up. */
const MAX_ATTEMPTS = 5;
/** Directories between the root and a lock file that are looked through. */
const MAX_DEPTH = 8;

/**
 * Lock files `<directory>/lock/<kernel id>` of commits (spec/kernel-lifecycle.md 4.2, 5.9). A file says who holds it,
 * so that one that was left behind is told from one that is held, and only its owner removes it.
 */
export class CommitLocks {
  readonly #parts: CommitLockParts;
  /** Files that this process is about to take, holds, or is letting go. */
  readonly #busy = new Set<string>();
  /** Those that it holds. */
  readonly #held = new Map<string, KernelId>();

  constructor(parts: CommitLockParts) {
    this.#parts = parts;
  }

  isHeld(file: string): boolean {
    return this.#held.has(file);
  }

  /** Kernels whose locks this agent holds now. */
  get kernels(): ReadonlySet<KernelId> {
    return new Set(this.#held.values());
  }

  /** Null when it is held, here or by another process. Its directory must be there. */
  async take(file: string, kernelId: KernelId): Promise<CommitLock | null> {
    if (this.#busy.has(file)) return null;
    this.#busy.add(file);
    try {
      const content = await this.#create(file, kernelId);
      if (content === null) {
        this.#busy.delete(file);
        return null;
      }
      this.#held.set(file, kernelId);
      return { release: () => this.#release(file, content) };
    } catch (error) {
      this.#busy.delete(file);
      throw error;
    }
  }

  /** Removes what an earlier run of this agent left, unfinished files included, and tells of which kernels. Never rejects. */
  async purge(): Promise<ReadonlySet<KernelId>> {
    const { root, logger } = this.#parts;
    const kernels = new Set<KernelId>();
    try {
      for (const file of await lockFilesBelow(root, MAX_DEPTH)) {
        const kernelId = await this.#purgeOne(file);
        if (kernelId !== null) kernels.add(kernelId);
      }
    } catch (error) {
      logger.warn('cannot look for locks of an earlier run', { root, error: messageOf(error) });
    }
    return kernels;
  }

  async #create(file: string, kernelId: KernelId): Promise<string | null> {
    const { agentId, holders } = this.#parts;
    const owner: Owner = { agentId, kernelId, ...holders.self };
    const content = `${JSON.stringify({ ...owner, nonce: randomUUID() })}\n`;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      if (await createWhole(file, content)) return content;
      const found = await readIfPresent(file);
      if (found === null) continue;
      if (await this.#isHeldByLiving(found)) return null;
      this.#parts.logger.warn('a lock without a living holder is taken over', { file, kernelId });
      if ((await readIfPresent(file)) === found) await rm(file, { force: true });
    }
    return null;
  }

  /** The original's lock files are empty: none of them can be held for a kernel that is here. */
  async #isHeldByLiving(content: string): Promise<boolean> {
    const owner = parseOwner(content);
    return owner !== null && (await this.#parts.holders.isAlive(owner));
  }

  async #release(file: string, content: string): Promise<void> {
    if (!this.#held.has(file)) return;
    try {
      if ((await readIfPresent(file)) === content) await rm(file, { force: true });
    } catch (error) {
      this.#parts.logger.error('cannot remove a lock file', { file, error: messageOf(error) });
    } finally {
      this.#held.delete(file);
      this.#busy.delete(file);
    }
  }

  /** The kernel of a lock that was left behind. */
  async #purgeOne(file: string): Promise<KernelId | null> {
    const { agentId, holders, logger } = this.#parts;
    try {
      const content = await readIfPresent(file);
      const owner = content === null ? null : parseOwner(content);
      // What another agent has left is its own business: its machine may be another one.
      if (owner?.agentId !== agentId || (await holders.isAlive(owner))) return null;
      const directory = dirname(dirname(file));
      await rm(partialOf(directory, owner.kernelId), { force: true });
      await unlink(file);
      logger.warn('removed the lock of a commit that an earlier run did not finish', { file });
      return owner.kernelId;
    } catch (error) {
      logger.warn('cannot remove a lock of an earlier run', { file, error: messageOf(error) });
      return null;
    }
  }
}

/** Appears with its whole content or not at all. @returns false when the file exists. */
async function createWhole(file: string, content: string): Promise<boolean> {
  const temporary = join(dirname(file), `.${randomUUID()}`);
  await writeFile(temporary, content);
  try {
    await link(temporary, file);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

/** What vanishes meanwhile is not there (spec/kernel-lifecycle.md 9.4 L9). Follows no links. */
async function lockFilesBelow(directory: string, depth: number): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return [];
    throw error;
  });
  if (basename(directory) === LOCK_DIRECTORY)
    return entries.filter((entry) => entry.isFile()).map(({ name }) => join(directory, name));
  const files: string[] = [];
  if (depth > 0)
    for (const entry of entries)
      if (entry.isDirectory()) files.push(...(await lockFilesBelow(join(directory, entry.name), depth - 1)));
  return files;
}

function parseOwner(content: string): Owner | null {
  try {
    return ownerSchema.parse(JSON.parse(content));
  } catch {
    return null;
  }
}

async function readIfPresent(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}
