import type { Redis } from 'ioredis';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';

const PING_MS = 10_000;
const RETRY_MS = 1000;

/**
 * Hears one channel for as long as it is open: after every interruption of its connection, however long, it subscribes
 * again. What is said meanwhile is lost, as with every such channel.
 */
export class RedisSubscriber {
  readonly #client: Redis;
  readonly #channel: string;
  readonly #logger: Logger;
  readonly #pings: NodeJS.Timeout;
  #retry: NodeJS.Timeout | undefined;
  #isSubscribed = false;
  #wasLost = false;
  /** A connection that did not answer is being given up. */
  #isLeaving = false;
  #closed = false;

  /**
   * `client`: of its own, for nothing else can be done over it. Closed with the subscriber. A listener's failure is
   * its own.
   */
  constructor(options: {
    readonly client: Redis;
    readonly channel: string;
    readonly listener: (message: string) => void;
    readonly logger: Logger;
    /** Between two questions whether the connection still works; default 10 s. */
    readonly pingMs?: number;
  }) {
    const { client, channel, listener, logger } = options;
    this.#client = client;
    this.#channel = channel;
    this.#logger = logger;
    client.on('error', () => {
      // Whoever owns the connections of this server says that it is away.
    });
    client.on('ready', () => {
      this.#subscribe();
    });
    client.on('close', () => {
      if (this.#isSubscribed && !this.#closed) {
        this.#wasLost = true;
        logger.warn('a channel is not heard; trying on', { channel });
      }
      this.#isSubscribed = false;
      this.#isLeaving = false;
    });
    client.on('message', (from: string, message: string) => {
      if (from !== channel || this.#closed) return;
      try {
        listener(message);
      } catch (error) {
        logger.error('a listener of a channel failed', { channel, error: messageOf(error) });
      }
    });
    this.#pings = setInterval(() => {
      this.#ping();
    }, options.pingMs ?? PING_MS);
    this.#pings.unref();
    if (client.status === 'ready') this.#subscribe();
  }

  get isSubscribed(): boolean {
    return this.#isSubscribed;
  }

  /** Nothing is heard afterwards. Idempotent. */
  close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#pings);
    clearTimeout(this.#retry);
    this.#client.disconnect();
    return Promise.resolve();
  }

  #subscribe(): void {
    if (this.#closed) return;
    this.#client.subscribe(this.#channel).then(
      () => {
        this.#isSubscribed = true;
        if (this.#wasLost) this.#logger.info('a channel is heard again', { channel: this.#channel });
        this.#wasLost = false;
      },
      (error: unknown) => {
        this.#logger.warn('cannot subscribe to a channel; tried again', {
          channel: this.#channel,
          error: messageOf(error),
        });
        clearTimeout(this.#retry);
        // With a new connection 'ready' is faster.
        this.#retry = setTimeout(() => {
          if (!this.#isSubscribed && this.#client.status === 'ready') this.#subscribe();
        }, RETRY_MS);
        this.#retry.unref();
      },
    );
  }

  /** A connection that died unnoticed would be silent for ever. */
  #ping(): void {
    if (this.#client.status !== 'ready' || this.#isLeaving) return;
    this.#client.ping().catch(() => {
      if (this.#closed || this.#isLeaving) return;
      this.#isLeaving = true;
      this.#client.disconnect(true);
    });
  }
}
