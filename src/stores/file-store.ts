import { type FileHandle, mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { hasCode, messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { syncDirectory } from '../disk/whole-file.js';
import { StoreCorruptError, StoreUnavailableError } from './errors.js';
import type { KeyChange, KeyEvent, KeyValue, KeyValueStore, KeyWatch } from './key-value-store.js';

const changesSchema = z.array(
  z.discriminatedUnion('type', [
    z.object({ type: z.literal('put'), key: z.string(), value: z.string() }),
    z.object({ type: z.literal('delete'), key: z.string() }),
    z.object({ type: z.literal('delete-prefix'), prefix: z.string() }),
  ]),
);

/** Rewritten when the log holds this many lines more than it holds keys. */
const COMPACT_AFTER_LINES = 1000;

/**
 * A key-value store in one file: a log with one write a line, read into memory at the start. A line is complete or
 * ignored, so a crash loses at most the write that was not answered yet. The process that holds the state directory
 * is its only writer.
 */
export class FileStore implements KeyValueStore {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #values = new Map<string, string>();
  readonly #watches = new Set<Watch>();
  #log: FileHandle;
  #lines: number;
  #tail: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(path: string, logger: Logger, log: FileHandle, lines: readonly string[]) {
    this.#path = path;
    this.#logger = logger;
    this.#log = log;
    this.#lines = lines.length;
    for (const [index, line] of lines.entries()) this.#apply(parseLine(line, path, index + 1));
  }

  /** @throws StoreCorruptError naming file and line; StoreUnavailableError when it cannot be read or written. */
  static async open(path: string, logger: Logger): Promise<FileStore> {
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      const text = await readFile(path, 'utf8').catch((error: unknown) => {
        if (hasCode(error, 'ENOENT')) return '';
        throw error;
      });
      const lines = text.split('\n');
      // What follows the last line break was being written when the power went.
      const torn = lines.pop() ?? '';
      const log = await open(path, 'a', 0o600);
      try {
        if (torn !== '') {
          logger.warn('the last write of the store was incomplete and is dropped', { path });
          await log.truncate(Buffer.byteLength(text) - Buffer.byteLength(torn));
        }
        return new FileStore(path, logger, log, lines);
      } catch (error) {
        await log.close();
        throw error;
      }
    } catch (error) {
      if (hasCode(error, 'STORE_CORRUPT')) throw error;
      throw new StoreUnavailableError(`${path}: ${messageOf(error)}`, { cause: error });
    }
  }

  get(key: string): Promise<string | null> {
    return Promise.resolve(this.#values.get(key) ?? null);
  }

  list(prefix: string): Promise<readonly KeyValue[]> {
    const found = [...this.#values].filter(([key]) => key.startsWith(prefix));
    return Promise.resolve(found.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  }

  write(changes: readonly KeyChange[]): Promise<void> {
    const result = this.#tail.then(() => this.#write(changes));
    this.#tail = result.catch(() => undefined);
    return result;
  }

  watch(prefix: string, listener: (event: KeyEvent) => void): Promise<KeyWatch> {
    const watch: Watch = { prefix, listener };
    this.#watches.add(watch);
    return Promise.resolve({
      close: () => {
        this.#watches.delete(watch);
        return Promise.resolve();
      },
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watches.clear();
    await this.#tail;
    await this.#log.close();
  }

  async #write(changes: readonly KeyChange[]): Promise<void> {
    if (changes.length === 0) return;
    try {
      await this.#log.appendFile(`${JSON.stringify(changes)}\n`);
      await this.#log.datasync();
    } catch (error) {
      throw new StoreUnavailableError(`${this.#path}: ${messageOf(error)}`, { cause: error });
    }
    this.#lines += 1;
    for (const event of this.#apply(changes)) this.#announce(event);
    if (this.#lines > this.#values.size + COMPACT_AFTER_LINES) await this.#compact();
  }

  #apply(changes: readonly KeyChange[]): readonly KeyEvent[] {
    const events: KeyEvent[] = [];
    const remove = (key: string) => {
      if (this.#values.delete(key)) events.push({ type: 'delete', key });
    };
    for (const change of changes)
      switch (change.type) {
        case 'put':
          this.#values.set(change.key, change.value);
          events.push(change);
          break;
        case 'delete':
          remove(change.key);
          break;
        case 'delete-prefix':
          for (const key of [...this.#values.keys()]) if (key.startsWith(change.prefix)) remove(key);
          break;
      }
    return events;
  }

  #announce(event: KeyEvent): void {
    for (const { prefix, listener } of this.#watches)
      if (event.key.startsWith(prefix))
        try {
          listener(event);
        } catch (error) {
          this.#logger.error('a watch listener failed', { key: event.key, error: messageOf(error) });
        }
  }

  /** One line with everything replaces the log; a crash in between leaves the old one. */
  async #compact(): Promise<void> {
    const changes: KeyChange[] = [...this.#values].map(([key, value]) => ({ type: 'put', key, value }));
    const next = `${this.#path}.new`;
    try {
      const log = await open(next, 'w', 0o600);
      try {
        await log.appendFile(`${JSON.stringify(changes)}\n`);
        await log.datasync();
      } finally {
        await log.close();
      }
      await rename(next, this.#path);
      await syncDirectory(dirname(this.#path));
      const old = this.#log;
      this.#log = await open(this.#path, 'a', 0o600);
      this.#lines = 1;
      await old.close();
    } catch (error) {
      // The log only grows until the next attempt.
      this.#logger.warn('the store could not be compacted', { path: this.#path, error: messageOf(error) });
    }
  }
}

interface Watch {
  readonly prefix: string;
  readonly listener: (event: KeyEvent) => void;
}

function parseLine(line: string, path: string, number: number): readonly KeyChange[] {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    value = undefined;
  }
  const parsed = changesSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new StoreCorruptError(
    `${path}:${String(number)}: not a write of this program; restore the file or move it away`,
  );
}

/** Name of the store's file below a state directory. */
export const fileStorePath = (stateDirectory: string): string => join(stateDirectory, 'store.log');
