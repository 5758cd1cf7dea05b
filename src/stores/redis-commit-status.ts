import type { ChainableCommander, Redis } from 'ioredis';
import { StoreUnavailableError } from './errors.js';

/** A little less than two rounds of reports: what is not reported again is over (spec/kernel-lifecycle.md 5.9). */
const LIFETIME_SEC = 13;

/** Commits under way, where managers look for them (spec/events-and-stores.md 5.7). */
export class RedisCommitStatus {
  readonly #client: () => Redis;

  /** Asked for each write, so that a connection that was replaced is used at once. */
  constructor(client: () => Redis) {
    this.#client = client;
  }

  /** @throws the client's error, StoreUnavailableError when a key is not written. */
  async ongoing(kernelIds: Iterable<string>): Promise<void> {
    const ids = [...kernelIds];
    if (ids.length === 0) return;
    let pipeline: ChainableCommander = this.#client().pipeline();
    for (const id of ids) pipeline = pipeline.set(`kernel.${id}.commit`, 'ongoing', 'EX', LIFETIME_SEC);
    const results = await pipeline.exec();
    const failed = results?.find(([error]) => error !== null);
    if (!results || failed)
      throw new StoreUnavailableError(
        `redis did not take the state of commits: ${failed?.[0]?.message ?? 'no result'}`,
      );
  }
}
