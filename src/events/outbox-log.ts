import { type FileHandle, mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { hasCode, messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { OutboxEntry } from './outbox.js';

const entrySchema = z.object({
  id: z.number().int().positive(),
  createdAtMs: z.number(),
  importance: z.enum(['lifecycle', 'report']),
  name: z.string(),
  source: z.string(),
  anycast: z.array(z.tuple([z.string(), z.string()])).nullable(),
  broadcast: z.string().nullable(),
  cacheKey: z.string().nullable(),
});
const lineSchema = z.union([z.object({ put: entrySchema }), z.object({ done: z.number().int().positive() })]);

/** Rewritten once this many entries are done and still in the file. */
const COMPACT_AFTER_DONE = 2000;

/**
 * What keeps the outbox across crashes: a file with one line an entry and one line for each that was delivered.
 * Whoever appends waits until the line is on disk; appends of one moment share one sync.
 */
export class OutboxLog {
  readonly #path: string;
  readonly #logger: Logger;
  #file: FileHandle;
  #pending: { readonly lines: string[]; readonly written: Promise<void> } | undefined;
  #tail: Promise<void> = Promise.resolve();
  #doneLines = 0;

  private constructor(path: string, logger: Logger, file: FileHandle) {
    this.#path = path;
    this.#logger = logger;
    this.#file = file;
  }

  /** The log and the entries that were not delivered yet, in order. Unreadable lines are reported and skipped. */
  static async open(
    path: string,
    logger: Logger,
  ): Promise<{ readonly log: OutboxLog; readonly entries: readonly OutboxEntry[] }> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) return '';
      throw error;
    });
    const entries = readEntries(text, (line, reason) => {
      logger.error('a line of the outbox cannot be read and is skipped', { path, line, reason });
    });
    const log = new OutboxLog(path, logger, await open(path, 'a', 0o600));
    await log.rewrite(entries);
    return { log, entries };
  }

  /** Resolves once the entry is on disk. */
  put(entry: OutboxEntry): Promise<void> {
    return this.#append(JSON.stringify({ put: encodeEntry(entry) }));
  }

  /** A `done` that a crash swallows only means one more delivery. */
  done(id: number): Promise<void> {
    this.#doneLines += 1;
    return this.#append(JSON.stringify({ done: id }));
  }

  get wantsRewrite(): boolean {
    return this.#doneLines >= COMPACT_AFTER_DONE;
  }

  /** Replaces the file by one with just these entries; a crash in between leaves the old one. */
  rewrite(entries: readonly OutboxEntry[]): Promise<void> {
    this.#doneLines = 0;
    return this.#enqueue(async () => {
      const next = `${this.#path}.new`;
      const file = await open(next, 'w', 0o600);
      try {
        await file.appendFile(
          entries.map((entry) => `${JSON.stringify({ put: encodeEntry(entry) })}\n`).join(''),
        );
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(next, this.#path);
      const old = this.#file;
      this.#file = await open(this.#path, 'a', 0o600);
      await old.close();
    });
  }

  async close(): Promise<void> {
    await this.#tail;
    await this.#file.close();
  }

  #append(line: string): Promise<void> {
    if (this.#pending) {
      this.#pending.lines.push(line);
      return this.#pending.written;
    }
    const lines = [line];
    const written = this.#enqueue(async () => {
      this.#pending = undefined;
      await this.#file.appendFile(`${lines.join('\n')}\n`);
      await this.#file.datasync();
    });
    this.#pending = { lines, written };
    return written;
  }

  #enqueue(job: () => Promise<void>): Promise<void> {
    const result = this.#tail.then(job);
    this.#tail = result.catch((error: unknown) => {
      this.#logger.error('the outbox cannot be written', { path: this.#path, error: messageOf(error) });
    });
    return result;
  }
}

function encodeEntry(entry: OutboxEntry): z.input<typeof entrySchema> {
  return {
    ...entry,
    anycast:
      entry.anycast?.map(([name, value]): [string, string] => [name, value.toString('base64')]) ?? null,
  };
}

function readEntries(
  text: string,
  onBadLine: (line: number, reason: string) => void,
): readonly OutboxEntry[] {
  const entries = new Map<number, OutboxEntry>();
  const lines = text.split('\n');
  // The part behind the last line break was being written when the process ended.
  lines.pop();
  for (const [index, line] of lines.entries()) {
    const parsed = lineSchema.safeParse(parseJson(line));
    if (!parsed.success) onBadLine(index + 1, z.prettifyError(parsed.error));
    else if ('done' in parsed.data) entries.delete(parsed.data.done);
    else {
      const { put } = parsed.data;
      const anycast =
        put.anycast?.map(([name, value]) => [name, Buffer.from(value, 'base64')] as const) ?? null;
      entries.set(put.id, { ...put, anycast });
    }
  }
  return [...entries.values()];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
