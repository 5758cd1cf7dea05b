import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { hasCode, messageOf } from '../core/errors.js';
import { type KernelId, parseKernelId, parseSessionId, type SessionId } from '../core/ids.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { Logger } from '../core/logger.js';
import { writeWhole } from '../disk/whole-file.js';

/** What the session's manager is told about the end of its job (spec/kernel-runner.md 3.10). */
export interface BatchOutcome {
  readonly name: 'session_success' | 'session_failure';
  readonly reason: string;
  readonly exitCode: number;
}

/** A batch job that has been accepted and whose outcome has not been announced. */
export interface BatchJobRecord {
  readonly kernelId: KernelId;
  readonly sessionId: SessionId;
  readonly code: string;
  /** Tells it from other jobs of the same kernel; 0 in records of older releases. */
  readonly acceptedAtMs: number;
  /** When its time is up; null: never. */
  readonly deadlineMs: number | null;
  /** The runner has been given the command: it must never get it twice. */
  readonly started: boolean;
  /** Known, but maybe not announced: the runner tells it only once. */
  readonly outcome: BatchOutcome | null;
}

const recordSchema = z.object({
  version: z.literal(1),
  kernelId: z.string().transform(parseKernelId),
  sessionId: z.string().transform(parseSessionId),
  code: z.string(),
  acceptedAtMs: z.number().default(0),
  deadlineMs: z.number().nullable(),
  started: z.boolean(),
  outcome: z
    .object({
      name: z.enum(['session_success', 'session_failure']),
      reason: z.string(),
      exitCode: z.number(),
    })
    .nullable(),
});

/** Keeps batch jobs over restarts of the daemon, one file a kernel. */
export class BatchJournal {
  readonly #directory: string;
  readonly #logger: Logger;
  readonly #writes = new KeyedQueue<KernelId>();

  constructor(options: { readonly directory: string; readonly logger: Logger }) {
    this.#directory = options.directory;
    this.#logger = options.logger;
  }

  /** Of the records of one kernel the last one stays. @throws the system's error; the one before is still there then. */
  record(job: BatchJobRecord): Promise<void> {
    return this.#writes.run(job.kernelId, async () => {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await writeWhole(this.#path(job.kernelId), `${JSON.stringify({ version: 1, ...job })}\n`);
    });
  }

  /** Idempotent. */
  forget(kernelId: KernelId): Promise<void> {
    return this.#writes.run(kernelId, () => rm(this.#path(kernelId), { force: true }));
  }

  /** Unreadable records are reported and left where they are. */
  async load(): Promise<readonly BatchJobRecord[]> {
    const jobs: BatchJobRecord[] = [];
    for (const name of await this.#names()) {
      const path = join(this.#directory, name);
      try {
        jobs.push(recordSchema.parse(JSON.parse(await readFile(path, 'utf8'))));
      } catch (error) {
        this.#logger.error('a batch job record cannot be read', { path, error: messageOf(error) });
      }
    }
    return jobs;
  }

  async #names(): Promise<readonly string[]> {
    try {
      return (await readdir(this.#directory)).filter((name) => name.endsWith('.json'));
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return [];
      throw error;
    }
  }

  #path(kernelId: KernelId): string {
    return join(this.#directory, `${kernelId}.json`);
  }
}
