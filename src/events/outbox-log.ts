import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { hasCode, messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { syncDirectory } from '../disk/whole-file.js';
import type { OutboxEntry } from './outbox.js';

const entrySchema = z.object({
  id: z.number().int().positive(),
  token: z.string().default(() => randomUUID()),
  occurrence: z.string().nullable().default(null),
  createdAtMs: z.number(),
  importance: z.enum(['lifecycle', 'report']),
  name: z.string(),
  source: z.string(),
  anycast: z.array(z.tuple([z.string(), z.string()])).nullable(),
  broadcast: z.string().nullable(),
  cacheKey: z.string().nullable(),
});
const lineSchema = z.union([
  z.object({ put: entrySchema }),
  z.object({ done: z.number().int().positive(), occurrence: z.string().optional() }),
  z.object({ delivered: z.array(z.string()) }),
  z.object({ managers: z.literal('seen') }),
]);

const MANAGERS_SEEN = JSON.stringify({ managers: 'seen' });

/** Rewritten once this many entries are done and still in the file. */
const COMPACT_AFTER_DONE = 2000;

/**
 * What keeps the outbox across crashes: a file with one line an entry and one line for each that was delivered.
 * Whoever appends waits until the line is on disk; appends of one moment share one sync. A write that fails half way,
 * on a full disk, leaves nothing behind that would spoil the next one.
 */
export class OutboxLog {
  readonly #path: string;
  readonly #logger: Logger;
  #file: FileHandle;
  #pending: { readonly lines: string[]; readonly written: Promise<void> } | undefined;
  #tail: Promise<void> = Promise.resolve();
  #doneLines = 0;
  #hasSeenManagers = false;
  /** Where the last complete line ends. */
  #size: number;
  /** Behind it stands a piece of a line. */
  #torn: boolean;
  /** Said once, until a write succeeds. */
  #isFailing = false;

  private constructor(path: string, logger: Logger, file: FileHandle, text: string) {
    this.#path = path;
    this.#logger = logger;
    this.#file = file;
    this.#size = Buffer.byteLength(text.slice(0, text.lastIndexOf('\n') + 1));
    this.#torn = text !== '' && !text.endsWith('\n');
  }

  /** The log with what it holds. Unreadable lines are reported and skipped. A full disk is no reason not to open. */
  static async open(path: string, logger: Logger): Promise<OutboxContent & { readonly log: OutboxLog }> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if (hasCode(error, 'ENOENT')) return '';
      throw error;
    });
    const content = readContent(text, (line, reason) => {
      logger.error('a line of the outbox cannot be read and is skipped', { path, line, reason });
    });
    const log = new OutboxLog(path, logger, await open(path, 'a', 0o600), text);
    log.#hasSeenManagers = content.hasSeenManagers;
    await log.rewrite(content.entries, content.delivered).catch(() => undefined);
    return { log, ...content };
  }

  /** Resolves once the entry is on disk. */
  put(entry: OutboxEntry): Promise<void> {
    return this.#append(JSON.stringify({ put: encodeEntry(entry) }));
  }

  /** A `done` that a crash swallows only means one more attempt to deliver. */
  done({ id, occurrence }: OutboxEntry): Promise<void> {
    this.#doneLines += 1;
    return this.#append(JSON.stringify({ done: id, ...(occurrence === null ? {} : { occurrence }) }));
  }

  /** Notes for later processes that managers have read events of this daemon. */
  sawManagers(): Promise<void> {
    this.#hasSeenManagers = true;
    return this.#append(MANAGERS_SEEN);
  }

  get wantsRewrite(): boolean {
    return this.#doneLines >= COMPACT_AFTER_DONE;
  }

  /**
   * Replaces the file by one with just these entries and delivered occurrences; a crash or a full disk in between
   * leaves the old one.
   */
  rewrite(entries: readonly OutboxEntry[], delivered: readonly string[]): Promise<void> {
    this.#doneLines = 0;
    return this.#enqueue(async () => {
      const next = `${this.#path}.new`;
      const lines = entries.map((entry) => `${JSON.stringify({ put: encodeEntry(entry) })}\n`);
      if (delivered.length > 0) lines.unshift(`${JSON.stringify({ delivered })}\n`);
      if (this.#hasSeenManagers) lines.unshift(`${MANAGERS_SEEN}\n`);
      const text = lines.join('');
      try {
        const file = await open(next, 'w', 0o600);
        try {
          await file.appendFile(text);
          await file.datasync();
        } finally {
          await file.close();
        }
        await rename(next, this.#path);
      } catch (error) {
        await rm(next, { force: true }).catch(() => undefined);
        throw error;
      }
      const old = this.#file;
      this.#file = await open(this.#path, 'a', 0o600);
      this.#size = Buffer.byteLength(text);
      this.#torn = false;
      await old.close();
      await syncDirectory(dirname(this.#path));
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
      await this.#write(`${lines.join('\n')}\n`);
    });
    this.#pending = { lines, written };
    return written;
  }

  /** All of it or, for a later reader, nothing: what a full disk has cut off would swallow the line after it. */
  async #write(text: string): Promise<void> {
    if (this.#torn) {
      await this.#file.truncate(this.#size);
      this.#torn = false;
    }
    this.#torn = true;
    await this.#file.appendFile(text);
    await this.#file.datasync();
    this.#torn = false;
    this.#size += Buffer.byteLength(text);
  }

  #enqueue(job: () => Promise<void>): Promise<void> {
    const result = this.#tail.then(job);
    this.#tail = result.then(
      () => {
        if (this.#isFailing) this.#logger.info('the outbox is written again', { path: this.#path });
        this.#isFailing = false;
      },
      (error: unknown) => {
        if (!this.#isFailing)
          this.#logger.error('the outbox cannot be written: make room; events leave from memory meanwhile', {
            path: this.#path,
            error: messageOf(error),
          });
        this.#isFailing = true;
      },
    );
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

/** What an outbox log holds. */
export interface OutboxContent {
  /** Not delivered yet, in order. */
  readonly entries: readonly OutboxEntry[];
  /** Occurrences that were, oldest first. */
  readonly delivered: readonly string[];
  /** Has an earlier process met managers that read the stream? */
  readonly hasSeenManagers: boolean;
}

function readContent(text: string, onBadLine: (line: number, reason: string) => void): OutboxContent {
  const entries = new Map<number, OutboxEntry>();
  const delivered = new Set<string>();
  let hasSeenManagers = false;
  const lines = text.split('\n');
  // The part behind the last line break was being written when the process ended.
  lines.pop();
  for (const [index, line] of lines.entries()) {
    const parsed = lineSchema.safeParse(parseJson(line));
    if (!parsed.success) onBadLine(index + 1, z.prettifyError(parsed.error));
    else if ('delivered' in parsed.data) for (const one of parsed.data.delivered) delivered.add(one);
    else if ('managers' in parsed.data) hasSeenManagers = true;
    else if ('done' in parsed.data) {
      entries.delete(parsed.data.done);
      if (parsed.data.occurrence !== undefined) delivered.add(parsed.data.occurrence);
    } else {
      const { put } = parsed.data;
      const anycast =
        put.anycast?.map(([name, value]) => [name, Buffer.from(value, 'base64')] as const) ?? null;
      entries.set(put.id, { ...put, anycast });
    }
  }
  // One that the disk took only at the second attempt stands behind younger ones.
  return {
    entries: [...entries.values()].sort((a, b) => a.id - b.id),
    delivered: [...delivered],
    hasSeenManagers,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
