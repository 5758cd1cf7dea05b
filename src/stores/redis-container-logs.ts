import { promisify } from 'node:util';
import { deflate } from 'node:zlib';
import type { Redis } from 'ioredis';
import { StoreUnavailableError } from './errors.js';

export interface RedisContainerLogsOptions {
  /** Asked for each write, so that a connection that was replaced is used at once. */
  readonly client: () => Redis;
  readonly chunkBytes: number;
  readonly maxBytes: number;
}

const LIFETIME_SEC = 3600;
const compress = promisify(deflate);

/** Logs of ended containers in Redis, where the manager collects them (spec/events-and-stores.md 7). */
export class RedisContainerLogs {
  readonly chunkBytes: number;
  readonly maxBytes: number;
  readonly #client: () => Redis;

  constructor(options: RedisContainerLogsOptions) {
    this.#client = options.client;
    this.chunkBytes = options.chunkBytes;
    this.maxBytes = options.maxBytes;
  }

  /**
   * Replaces what lies there: an end that is tried again must not double the log. A failure leaves nothing, where
   * Redis can still be told.
   */
  async store(containerId: string, chunks: readonly Uint8Array[]): Promise<void> {
    const key = `containerlog.${containerId}`;
    try {
      for (const [index, chunk] of chunks.entries()) {
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
