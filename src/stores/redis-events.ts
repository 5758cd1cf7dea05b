import type { Redis } from 'ioredis';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { DELIVER, type DeliveryAnswer, readAnswer, readGroup } from './redis-delivery.js';
import { EntryRefusedError, StoreUnavailableError } from './errors.js';

const STREAM = 'events';
const CHANNEL = 'events_all';
/** The consumer group that managers read as (spec/events-and-stores.md 3.1). */
const GROUP = 'manager';
/**
 * About as many entries as the original keeps (spec/events-and-stores.md 3.1). More would be of no use: whoever adds
 * the next entry, a manager for instance, cuts the stream to this.
 */
const STREAM_LENGTH = 128;
const CACHE_SECONDS = 300;
/** How long Redis remembers that it has an event: longer than an attempt and its repeats, also after a restart. */
const TOKEN_SECONDS = 3600;

/** One event for Redis; `events/EventDelivery` is one. */
export interface RedisDelivery {
  readonly token: string;
  /** A repeat under the same token must not be seen. */
  readonly once: boolean;
  readonly anycast: readonly (readonly [name: string, value: Buffer])[] | null;
  readonly broadcast: string | null;
  readonly cacheKey: string | null;
  /** Nothing is sent while managers have this many entries left to read, or more. Default: no matter how many. */
  readonly unreadBelow?: number | null;
  /** Nothing is sent while the stream has no group of managers. Default: it need not have one. */
  readonly needsGroup?: boolean;
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

  /**
   * Where Redis allows scripts, the look at what managers have read and the entry are one step.
   * @throws EntryRefusedError when Redis refuses this event for its own sake, now and ever; the client's error when
   * it is not certain that stream and channel have it.
   */
  async deliver(delivery: RedisDelivery): Promise<DeliveryAnswer> {
    try {
      return await this.#deliver(delivery);
    } catch (error) {
      if (!isLastingRefusal(error)) throw error;
      throw new EntryRefusedError(`redis refuses an event for good: ${messageOf(error)}`, { cause: error });
    }
  }

  async #deliver(delivery: RedisDelivery): Promise<DeliveryAnswer> {
    if (this.#mayRunScripts) {
      try {
        return await this.#deliverAtOnce(delivery);
      } catch (error) {
        if (!isScriptRefusal(error)) throw error;
        this.#mayRunScripts = false;
        this.#logger.warn('redis allows no scripts (EVAL): an event may arrive twice after a lost answer', {
          error: messageOf(error),
        });
      }
    }
    return await this.#deliverInHalves(delivery);
  }

  async #deliverAtOnce(delivery: RedisDelivery): Promise<DeliveryAnswer> {
    const { token, once, anycast, broadcast, cacheKey, unreadBelow, needsGroup } = delivery;
    const keys = [`splenium.event.${token}`, STREAM, ...(cacheKey === null ? [] : [cacheKey])];
    const answer = await this.#client().eval(
      DELIVER,
      keys.length,
      ...keys,
      ...[once ? TOKEN_SECONDS : '', STREAM_LENGTH, broadcast ?? '', CACHE_SECONDS, CHANNEL],
      ...[GROUP, unreadBelow ?? '', needsGroup === true ? 1 : ''],
      ...(anycast?.flat() ?? []),
    );
    return readAnswer(answer);
  }

  async #deliverInHalves(delivery: RedisDelivery): Promise<DeliveryAnswer> {
    const { token, anycast, broadcast, cacheKey } = delivery;
    let answer: DeliveryAnswer = { held: null, hasGroup: null, position: '' };
    if (anycast && this.#halfDelivered !== token) {
      answer = await this.#look(delivery);
      if (answer.held !== null) return answer;
      await this.#client().xadd(STREAM, 'MAXLEN', '~', STREAM_LENGTH, '*', ...anycast.flat());
      this.#halfDelivered = token;
    }
    if (broadcast !== null) await this.#broadcast(broadcast, cacheKey);
    return answer;
  }

  /** Only as exact as the server's own count of unread entries, which Redis before 7 does not have. */
  async #look({ unreadBelow, needsGroup }: RedisDelivery): Promise<DeliveryAnswer> {
    const group = await this.#client()
      .xinfo('GROUPS', STREAM)
      .then(
        (groups: unknown) => readGroup(groups, GROUP),
        (error: unknown) => {
          const text = messageOf(error);
          if (/no such key/i.test(text)) return 'none';
          // Of the command itself: this user may not, or this server cannot.
          if (/^(NOPERM|ERR unknown)/i.test(text)) return 'unknown';
          throw error;
        },
      );
    if (group === 'unknown') return { held: null, hasGroup: null, position: '' };
    if (group === 'none')
      return { held: needsGroup === true ? 'no-group' : null, hasGroup: false, position: '' };
    const { position, unread } = group;
    const isFull = typeof unreadBelow === 'number' && unread !== null && unread >= unreadBelow;
    return { held: isFull ? 'unread' : null, hasGroup: true, position };
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

/**
 * Refusals of an entry as such: it is too large, or the key that it goes to holds something else. Everything else
 * (no memory, a replica, a server that loads or moves, no rights, a lost connection) passes or can be mended.
 */
const isLastingRefusal = (error: unknown): boolean =>
  /\bWRONGTYPE\b|invalid (multi)?bulk length|exceeds maximum allowed size|too large to be stored|too many results to unpack/i.test(
    messageOf(error),
  );
