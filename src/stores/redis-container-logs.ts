import { promisify } from 'node:util';
import { deflate } from 'node:zlib';
import type { Redis } from 'ioredis';
import { StoreUnavailableError } from './errors.js';

export interface RedisContainerLogsOptions {
  /** Asked for each write, so that a connection that was replaced is used at once. */
  readonly client: () => Redis;
  readonly chunkBytes: number;
  readonly maxBytes: number;
  /** For one log; default 20 000. */
  readonly timeoutMs?: number;
  /** Of all logs on their way; default 64 MiB. */
  readonly maxPendingBytes?: number;
}

const LIFETIME_SEC = 3600;
const TIMEOUT_MS = 20_000;
const MAX_PENDING_BYTES = 64 * 1024 * 1024;
const compress = promisify(deflate);

/** Logs of ended containers in Redis, where the manager collects them (spec/events-and-stores.md 7). */
export class RedisContainerLogs {
  readonly chunkBytes: number;
  readonly maxBytes: number;
  readonly #client: () => Redis;
  readonly #timeoutMs: number;
  readonly #maxPendingBytes: number;
  #pendingBytes = 0;

  constructor(options: RedisContainerLogsOptions) {
    this.#client = options.client;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.#maxPendingBytes = options.maxPendingBytes ?? MAX_PENDING_BYTES;
    this.chunkBytes = options.chunkBytes;
    this.maxBytes = options.maxBytes;
  }

  /**
   * Replaces what lies there: an end that is tried again must not double the log. A failure leaves nothing, where
   * Redis can still be told.
   * @throws StoreUnavailableError for a log that is given up, also because too much is on its way to a slow Redis.
   */
  async store(containerId: string, chunks: readonly Uint8Array[]): Promise<void> {
    const bytes = chunks.reduce((sum, { length }) => sum + length, 0);
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes > this.#maxPendingBytes)
      throw new StoreUnavailableError(
        `redis is slow: ${String(this.#pendingBytes)} bytes of logs are on their way, so the log of ${containerId} is dropped`,
      );
    this.#pendingBytes += bytes;
    try {
      await this.#store(containerId, chunks);
    } finally {
      this.#pendingBytes -= bytes;
    }
  }

  async #store(containerId: string, chunks: readonly Uint8Array[]): Promise<void> {
    const deadline = performance.now() + this.#timeoutMs;
    const key = `containerlog.${containerId}`;
    try {
      for (const [index, chunk] of chunks.entries()) {
        if (performance.now() > deadline)
          throw new StoreUnavailableError(
            `redis took ${String(index)} of ${String(chunks.length)} pieces of a log within ${String(this.#timeoutMs)} ms`,
          );
        const content = (await compress(chunk)).toString('base64');
        let transaction = this.#client().multi();
        if (index === 0) transaction = transaction.del(key);
        const results = await transaction
          .rpush(key, JSON.stringify({ compress_type: 'zlib', content }))
          .expire(key, LIFETIME_SEC)
          .exec();
        const failed = results?.find(([error]) => error !== null);
        if (!results || failed)
          throw new StoreUnavailableError(`redis did not take a log: ${failed?.[0]?.message ?? 'no result'}`);
      }
    } catch (error) {
      await this.#client()
        .del(key)
        .catch(() => undefined);
      throw error;
    }
  }
}
