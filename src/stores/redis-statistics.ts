import type { ChainableCommander, Redis } from 'ioredis';
import { StoreUnavailableError } from './errors.js';

/** How long each record outlives its last refresh, in seconds (spec/events-and-stores.md 2.4). */
export interface StatisticsLifetimes {
  readonly nodeSec: number;
  readonly processSec: number;
}

export interface RedisStatisticsOptions {
  /** Asked for each write, so that a connection that was replaced is used at once. */
  readonly client: () => Redis;
  /** The manager's msgpack. */
  readonly pack: (value: unknown) => Uint8Array;
  readonly lifetimes: StatisticsLifetimes;
}

const DAY_SEC = 86_400;

/**
 * Statistics in Redis (spec/events-and-stores.md 5.3 to 5.5, 5.7). Every method rejects when it is not certain that
 * everything was written; a round that is lost is replaced by the next.
 */
export class RedisStatistics {
  readonly #options: RedisStatisticsOptions;

  constructor(options: RedisStatisticsOptions) {
    this.#options = options;
  }

  async node(agentId: string, record: unknown): Promise<void> {
    await this.#write([[agentId, this.#packed(record), this.#options.lifetimes.nodeSec]]);
  }

  /** The last record of a kernel stays after its end, for accounting. */
  async kernels(records: ReadonlyMap<string, unknown>): Promise<void> {
    await this.#write([...records].map(([kernelId, record]) => [kernelId, this.#packed(record), DAY_SEC]));
  }

  async processes(records: ReadonlyMap<string, unknown>): Promise<void> {
    const { processSec } = this.#options.lifetimes;
    await this.#write(
      [...records].map(([containerId, record]) => [containerId, this.#packed(record), processSec]),
    );
  }

  /** Slot name -> its description as JSON. */
  async metadata(descriptions: ReadonlyMap<string, string>): Promise<void> {
    if (descriptions.size > 0) await this.#options.client().hset('computer.metadata', new Map(descriptions));
  }

  #packed(record: unknown): Buffer {
    return Buffer.from(this.#options.pack(record));
  }

  async #write(
    entries: readonly (readonly [key: string, value: string | Buffer, seconds: number])[],
  ): Promise<void> {
    let pipeline: ChainableCommander = this.#options.client().pipeline();
    for (const [key, value, seconds] of entries) pipeline = pipeline.set(key, value, 'EX', seconds);
    const results = await pipeline.exec();
    const failed = results?.find(([error]) => error !== null);
    if (!results || failed)
      throw new StoreUnavailableError(
        `redis did not take statistics: ${failed?.[0]?.message ?? 'no result'}`,
      );
  }
}
