import { watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../core/errors.js';
import { silentLogger } from '../../core/logger.js';
import type { Logger } from '../../core/logger.js';
import { KeyFileError } from '../errors.js';
import { readPublicKeyFile } from './certificates.js';
import type { AcceptedKeys } from './curve.js';

export interface AcceptedKeysDirectoryOptions {
  /** Holds one `<name>.key` file for each accepted key; other files are left alone. */
  readonly directory: string;
  /** How often to look for changes that the system did not report, as on network file systems; default 2000. */
  readonly pollMs?: number;
  /** Called after every change of the set. */
  readonly onChange?: (names: readonly string[]) => void;
  readonly logger?: Logger;
}

interface KeyFile {
  /** Of the file when it was read; another one means that it has changed. */
  readonly stamp: string;
  /** The key last read from it; undefined while it never held one. */
  readonly key: string | undefined;
}

const POLL_MS = 2000;
/** More files than this are an accident. */
const MAX_KEY_FILES = 1024;
const SUFFIX = '.key';

/**
 * The accepted keys of a directory, re-read on change: add a file to let a key in, remove it to shut the key out of
 * new connections. A file that cannot be read, half written perhaps, keeps the key it held; the log names it.
 */
export class AcceptedKeysDirectory implements AcceptedKeys {
  readonly #options: AcceptedKeysDirectoryOptions;
  readonly #logger: Logger;
  #files: ReadonlyMap<string, KeyFile> = new Map();
  #keys: ReadonlySet<string> = new Set();
  #watcher: FSWatcher | undefined;
  #poll: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;
  #again = false;
  #complaint = '';
  #closed = false;

  private constructor(options: AcceptedKeysDirectoryOptions) {
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
  }

  /** @throws KeyFileError when the directory cannot be read. An empty one is in order: nobody is let in yet. */
  static async open(options: AcceptedKeysDirectoryOptions): Promise<AcceptedKeysDirectory> {
    const keys = new AcceptedKeysDirectory(options);
    // Before reading, so that nothing changes unseen in between.
    keys.#watch();
    try {
      await keys.#read();
    } catch (error) {
      keys.close();
      throw error;
    }
    keys.#poll = setInterval(() => void keys.reload(), options.pollMs ?? POLL_MS).unref();
    return keys;
  }

  has(publicKeyZ85: string): boolean {
    return this.#keys.has(publicKeyZ85);
  }

  /** Names of the files whose key is accepted, without their suffix. */
  get names(): readonly string[] {
    return [...this.#files].filter(([, { key }]) => key !== undefined).map(([name]) => name);
  }

  /**
   * Looks at the directory now. Never rejects: a directory that cannot be read is logged, and the keys stay as they
   * are.
   */
  reload(): Promise<void> {
    if (this.#reading) {
      // What is being read may be older than the change that led here.
      this.#again = true;
      return this.#reading;
    }
    this.#reading = this.#readUntilCurrent().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  /** Stops watching. The keys stay as they are. */
  close(): void {
    this.#closed = true;
    this.#watcher?.close();
    clearInterval(this.#poll);
  }

  #watch(): void {
    try {
      this.#watcher = watch(this.#options.directory, { persistent: false }, () => void this.reload());
      this.#watcher.on('error', () => this.#watcher?.close());
    } catch {
      // Reading says what is wrong with the directory; where watching is not possible, polling does.
    }
  }

  async #readUntilCurrent(): Promise<void> {
    this.#again = false;
    try {
      await this.#read();
      this.#complaint = '';
    } catch (error) {
      this.#complain(messageOf(error));
    }
    if (this.#mustReadAgain()) await this.#readUntilCurrent();
  }

  #mustReadAgain(): boolean {
    return this.#again && !this.#closed;
  }

  /** The same complaint again with every poll would only fill the log. */
  #complain(complaint: string): void {
    if (complaint !== this.#complaint) this.#logger.error('the accepted keys cannot be read', { complaint });
    this.#complaint = complaint;
  }

  async #read(): Promise<void> {
    const { directory } = this.#options;
    const entries = await readdir(directory).catch((error: unknown) => {
      throw new KeyFileError(
        `${directory}: cannot read the directory of accepted keys: ${messageOf(error)}`,
        {
          cause: error,
          details: { path: directory },
        },
      );
    });
    const fileNames = entries.filter((name) => name.endsWith(SUFFIX)).sort();
    if (fileNames.length > MAX_KEY_FILES)
      throw new KeyFileError(`${directory}: holds more than ${String(MAX_KEY_FILES)} key files`, {
        details: { path: directory },
      });
    const files = new Map<string, KeyFile>();
    for (const fileName of fileNames) {
      const name = fileName.slice(0, -SUFFIX.length);
      const file = await this.#readFile(join(directory, fileName), this.#files.get(name));
      if (file) files.set(name, file);
    }
    this.#replace(files);
  }

  /** Undefined when the file has gone since the directory was listed. */
  async #readFile(path: string, before: KeyFile | undefined): Promise<KeyFile | undefined> {
    const stamp = await stampOf(path);
    if (stamp === undefined) return undefined;
    if (before?.stamp === stamp) return before;
    try {
      return { stamp, key: await readPublicKeyFile(path) };
    } catch (error) {
      this.#logger.warn('an accepted key cannot be read', { path, error: messageOf(error) });
      return { stamp, key: before?.key };
    }
  }

  #replace(files: ReadonlyMap<string, KeyFile>): void {
    const keys = new Set([...files.values()].flatMap(({ key }) => key ?? []));
    const changed = keys.size !== this.#keys.size || [...keys].some((key) => !this.#keys.has(key));
    this.#files = files;
    this.#keys = keys;
    if (!changed) return;
    this.#logger.info('the accepted keys have changed', { names: this.names });
    this.#options.onChange?.(this.names);
  }
}

/** What changes with the contents of a file; undefined when there is none. */
async function stampOf(path: string): Promise<string | undefined> {
  try {
    const { ino, size, mtimeMs, ctimeMs } = await stat(path);
    return [ino, size, mtimeMs, ctimeMs].join(' ');
  } catch {
    return undefined;
  }
}
