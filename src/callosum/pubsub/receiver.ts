import { messageOf } from '../../core/errors.js';
import { silentLogger } from '../../core/logger.js';
import type { Logger } from '../../core/logger.js';
import { noMetrics } from '../../core/metrics.js';
import type { Metrics } from '../../core/metrics.js';
import { FaultLog } from '../fault-log.js';
import { declarePeerMetrics } from '../peer-metrics.js';
import type { PeerMetrics } from '../peer-metrics.js';
import { DEFAULT_LIMITS } from '../peer-options.js';
import type { PeerLimits, Serializer } from '../peer-options.js';
import type { CurveClientCredentials } from '../transport/curve.js';
import { connectStream } from '../transport/stream-sockets.js';
import type { StreamPattern, StreamSource } from '../transport/stream-sockets.js';
import { receiveLoop } from '../transport/transport.js';
import { decodeStreamMessage } from './stream-message.js';
import type { StreamMessage } from './stream-message.js';

export interface PublishedMessage {
  /** The unpacked payload. */
  readonly body: unknown;
  /** When the publisher created it, microseconds since 1970. */
  readonly createdAtUs: number;
}

/** Handles one message; what it throws is logged and counted, and the next message is handled all the same. */
export type MessageHandler = (message: PublishedMessage) => Promise<void>;

export interface ConsumingOptions {
  /** ZeroMQ endpoint to connect to. */
  readonly address: string;
  readonly serializer: Pick<Serializer, 'unpack'>;
  readonly handler: MessageHandler;
  readonly curve?: CurveClientCredentials;
  /** Handlers that run at once; nothing more is read meanwhile. Default 100, as in Python. */
  readonly maxConcurrency?: number;
  readonly limits?: Partial<Pick<PeerLimits, 'maxMessageBytes' | 'maxHandshakeMs'>>;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
}

const MAX_CONCURRENCY = 100;

/** The receiving side of a stream, which connects, and connects again by itself. */
abstract class Receiver {
  readonly #source: StreamSource;
  readonly #options: ConsumingOptions;
  readonly #faults: FaultLog;
  readonly #metrics: PeerMetrics;
  readonly #maxMessageBytes: number;
  readonly #running = new Set<Promise<void>>();

  protected constructor({ source, faults, options, maxMessageBytes }: ReceiverParts) {
    this.#source = source;
    this.#faults = faults;
    this.#options = options;
    this.#metrics = declarePeerMetrics(options.metrics ?? noMetrics);
    this.#maxMessageBytes = maxMessageBytes;
    void receiveLoop(source, (frames) => this.#onFrames(frames), options.logger ?? silentLogger);
  }

  /** Stops reading and waits for the handlers that run. Idempotent. */
  async close(): Promise<void> {
    this.#source.close();
    await Promise.all(this.#running);
  }

  /** A promise for when there is room for the next message, unless there is. */
  #onFrames(frames: readonly Uint8Array[]): Promise<void> | undefined {
    const decoded = decodeStreamMessage(frames, { maxPayloadBytes: this.#maxMessageBytes });
    if (!decoded.ok) {
      this.#malformed(decoded.fault);
      return undefined;
    }
    const job = this.#handle(decoded.message).finally(() => this.#running.delete(job));
    this.#running.add(job);
    if (this.#running.size < (this.#options.maxConcurrency ?? MAX_CONCURRENCY)) return undefined;
    return Promise.race(this.#running);
  }

  async #handle({ payload, createdAtUs }: StreamMessage): Promise<void> {
    let body: unknown;
    try {
      body = this.#options.serializer.unpack(payload);
    } catch {
      this.#malformed('payload');
      return;
    }
    try {
      await this.#options.handler({ body, createdAtUs });
      this.#metrics.received.increment({ type: 'STREAM' });
    } catch (error) {
      this.#metrics.streamFailures.increment();
      this.#options.logger?.warn('the handler of a stream failed', { error: messageOf(error) });
    }
  }

  #malformed(fault: string): void {
    this.#metrics.malformed.increment({ reason: `stream-${fault}` });
    this.#faults.warn('a stream message could not be read', fault);
  }
}

/** Receives what a `Publisher` broadcasts, from the moment the connection is up. */
export class Subscriber extends Receiver {
  /** @throws ValueError for a key that is none, or the socket's error for a malformed address. */
  static connect(options: ConsumingOptions): Subscriber {
    return new Subscriber(open('broadcast', options));
  }
}

/** Takes its share of what a `Distributor` hands out. */
export class Consumer extends Receiver {
  /** @throws ValueError for a key that is none, or the socket's error for a malformed address. */
  static connect(options: ConsumingOptions): Consumer {
    return new Consumer(open('distribute', options));
  }
}

interface ReceiverParts {
  readonly source: StreamSource;
  readonly faults: FaultLog;
  readonly options: ConsumingOptions;
  readonly maxMessageBytes: number;
}

function open(pattern: StreamPattern, options: ConsumingOptions): ReceiverParts {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const faults = new FaultLog(options.logger ?? silentLogger);
  const source = connectStream({ pattern, address: options.address, curve: options.curve, limits, faults });
  return { source, faults, options, maxMessageBytes: limits.maxMessageBytes };
}
