import type { Redis } from 'ioredis';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { StoreUnavailableError } from './errors.js';

const STREAM = 'events';
const CHANNEL = 'events_all';
/** About as many entries as the original keeps (spec/events-and-stores.md 3.1). */
const STREAM_LENGTH = 128;
const CACHE_SECONDS = 300;
/** How long Redis remembers that it has an event: longer than an attempt and its repeats, also after a restart. */
const TOKEN_SECONDS = 3600;

/**
 * Stream, kept copy and channel in one step, once for each token. An attempt whose answer was lost may be carried out
 * much later, by a server that was frozen for instance, so whether an event is there already is decided by Redis.
 * The first write comes first: what refuses it (memory, a replica) refuses all.
 */
const DELIVER_ONCE = `
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local fields = {}
for i = 6, #ARGV do fields[#fields + 1] = ARGV[i] end
if #fields > 0 then redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', unpack(fields)) end
redis.call('SET', KEYS[1], '1', 'EX', ARGV[1])
if ARGV[3] ~= '' then
  if KEYS[3] then redis.call('SET', KEYS[3], ARGV[3], 'EX', ARGV[4]) end
  redis.call('PUBLISH', ARGV[5], ARGV[3])
end
return 1`;

/** One event for Redis; `events/EventDelivery` is one. */
export interface RedisDelivery {
  readonly token: string;
  /** A repeat under the same token must not be seen. */
  readonly once: boolean;
  readonly anycast: readonly (readonly [name: string, value: Buffer])[] | null;
  readonly broadcast: string | null;
  readonly cacheKey: string | null;
}

/** Events over Redis: the stream of anycasts and the channel of broadcasts (spec/events-and-stores.md 3.1 to 3.3). */
export class RedisEvents {
  readonly #client: () => Redis;
  readonly #logger: Logger;
  #mayRunScripts = true;
  /** The token whose stream half has arrived, where there are no scripts: only its broadcast half is repeated. */
  #halfDelivered = '';

  /** `client` is asked for each event, so that a connection that was replaced is used at once. */
  constructor(options: { readonly client: () => Redis; readonly logger: Logger }) {
    this.#client = options.client;
    this.#logger = options.logger;
  }

  /** @throws the client's error when it is not certain that stream and channel have it. */
  async deliver(delivery: RedisDelivery): Promise<void> {
    if (delivery.once && this.#mayRunScripts) {
      try {
        await this.#deliverOnce(delivery);
        return;
      } catch (error) {
        if (!isScriptRefusal(error)) throw error;
        this.#mayRunScripts = false;
        this.#logger.warn('redis allows no scripts (EVAL): an event may arrive twice after a lost answer', {
          error: messageOf(error),
        });
      }
    }
    await this.#deliverInHalves(delivery);
  }

  async #deliverOnce({ token, anycast, broadcast, cacheKey }: RedisDelivery): Promise<void> {
    const keys = [`splenium.event.${token}`, STREAM, ...(cacheKey === null ? [] : [cacheKey])];
    await this.#client().eval(
      DELIVER_ONCE,
      keys.length,
      ...keys,
      ...[TOKEN_SECONDS, STREAM_LENGTH, broadcast ?? '', CACHE_SECONDS, CHANNEL],
      ...(anycast?.flat() ?? []),
    );
  }

  async #deliverInHalves({ token, anycast, broadcast, cacheKey }: RedisDelivery): Promise<void> {
    if (anycast && this.#halfDelivered !== token) {
      await this.#client().xadd(STREAM, 'MAXLEN', '~', STREAM_LENGTH, '*', ...anycast.flat());
      this.#halfDelivered = token;
    }
    if (broadcast !== null) await this.#broadcast(broadcast, cacheKey);
  }

  /** The kept copy is written first, so that whoever hears the message finds it. */
  async #broadcast(message: string, cacheKey: string | null): Promise<void> {
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

/** Of `EVAL` itself, not of a command inside. */
const isScriptRefusal = (error: unknown): boolean =>
  /^NOPERM .*'?eval'?|^ERR unknown command '?eval/i.test(messageOf(error));
