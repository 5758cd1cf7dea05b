import type { Redis } from 'ioredis';
import { StoreUnavailableError } from './errors.js';

const STREAM = 'events';
const CHANNEL = 'events_all';
/** About as many entries as the original keeps (spec/events-and-stores.md 3.1). */
const STREAM_LENGTH = 128;
const CACHE_SECONDS = 300;

/** Events over Redis: the stream of anycasts and the channel of broadcasts (spec/events-and-stores.md 3.1 to 3.3). */
export class RedisEvents {
  readonly #client: () => Redis;

  /** Asked for each event, so that a connection that was replaced is used at once. */
  constructor(client: () => Redis) {
    this.#client = client;
  }

  /** @throws the client's error when it is not certain that the entry is in the stream. */
  async anycast(fields: readonly (readonly [name: string, value: Buffer])[]): Promise<void> {
    await this.#client().xadd(STREAM, 'MAXLEN', '~', STREAM_LENGTH, '*', ...fields.flat());
  }

  /** The kept copy is written first, so that whoever hears the message finds it. */
  async broadcast(message: string, cacheKey: string | null): Promise<void> {
    const pipeline = this.#client().pipeline();
    if (cacheKey !== null) pipeline.set(cacheKey, message, 'EX', CACHE_SECONDS);
    pipeline.publish(CHANNEL, message);
    const results = await pipeline.exec();
    const failed = results?.find(([error]) => error !== null);
    if (!results || failed)
      throw new StoreUnavailableError(
        `redis did not take a broadcast: ${failed?.[0]?.message ?? 'no result'}`,
      );
  }
}
