import type { Redis } from 'ioredis';
import { StoreUnavailableError } from './errors.js';

const KEY = 'abuse_report';

/** Kernels that abuse resources, where managers look for them (spec/events-and-stores.md 5.7). */
export class RedisAbuseReports {
  readonly #client: () => Redis;

  /** Asked for each write, so that a connection that was replaced is used at once. */
  constructor(client: () => Redis) {
    this.#client = client;
  }

  /**
   * Kernel id -> what is done about it. Replaces everything that was there, at once: no reader sees half of it.
   * @throws the client's error, StoreUnavailableError when it is not written.
   */
  async replace(reports: ReadonlyMap<string, string>): Promise<void> {
    let transaction = this.#client().multi().del(KEY);
    if (reports.size > 0) transaction = transaction.hset(KEY, new Map(reports));
    const results = await transaction.exec();
    const failed = results?.find(([error]) => error !== null);
    if (!results || failed)
      throw new StoreUnavailableError(
        `redis did not take the abuse reports: ${failed?.[0]?.message ?? 'no result'}`,
      );
  }
}
