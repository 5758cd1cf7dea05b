import { within } from '../../core/async.js';
import { LimitExceededError } from '../../core/errors.js';
import { silentLogger } from '../../core/logger.js';
import type { Logger } from '../../core/logger.js';
import { noMetrics } from '../../core/metrics.js';
import type { Metrics } from '../../core/metrics.js';
import { PeerClosedError } from '../errors.js';
import { FaultLog } from '../fault-log.js';
import { declarePeerMetrics } from '../peer-metrics.js';
import { DEFAULT_LIMITS } from '../peer-options.js';
import type { PeerLimits, Serializer } from '../peer-options.js';
import type { BoundSocket } from '../transport/bound-socket.js';
import type { CurveServerCredentials } from '../transport/curve.js';
import { Outbox } from '../transport/outbox.js';
import { bindStream } from '../transport/stream-sockets.js';
import type { StreamPattern } from '../transport/stream-sockets.js';
import { encodeStreamMessage } from './stream-message.js';

export interface PublishingOptions {
  /** ZeroMQ endpoint to bind, such as `tcp://127.0.0.1:6005`. */
  readonly address: string;
  readonly serializer: Pick<Serializer, 'pack'>;
  readonly curve?: CurveServerCredentials;
  /** Of these the ones on message size, handshake and queue matter; the queue is one for all receivers. */
  readonly limits?: Partial<PeerLimits>;
  /** How long unsent messages may outlive `close()`; default 1000. */
  readonly lingerMs?: number;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
}

const LINGER_MS = 1000;

/** The sending side of a stream, which binds. */
abstract class Sender {
  readonly #bound: BoundSocket<Sendable>;
  readonly #outbox: Outbox;
  readonly #serializer: Pick<Serializer, 'pack'>;
  readonly #limits: PeerLimits;
  readonly #lingerMs: number;
  #closing: Promise<void> | undefined;

  protected constructor({ bound, outbox, limits, lingerMs, serializer }: SenderParts) {
    this.#bound = bound;
    this.#outbox = outbox;
    this.#serializer = serializer;
    this.#limits = limits;
    this.#lingerMs = lingerMs;
  }

  get endpoint(): string {
    return this.#bound.endpoint;
  }

  /**
   * Hands a message to the socket.
   * @param createdAtUs microseconds since 1970; default: now.
   * @throws LimitExceededError when the message is too large or too many wait, PeerClosedError, and whatever the
   * serializer throws.
   */
  async publish(body: unknown, createdAtUs: number = Date.now() * 1000): Promise<void> {
    const payload = this.#serializer.pack(body);
    const { maxMessageBytes } = this.#limits;
    if (payload.length > maxMessageBytes)
      throw new LimitExceededError(
        `a message of ${String(payload.length)} bytes is larger than ${String(maxMessageBytes)}`,
      );
    const frames = encodeStreamMessage({ createdAtUs, payload });
    await new Promise<void>((resolve, reject) => {
      this.#outbox.send('', frames, (outcome) => {
        if (outcome === 'sent') resolve();
        else if (outcome === 'queue-full')
          reject(new LimitExceededError('too many messages wait for a consumer', { retryable: true }));
        else reject(new PeerClosedError('the stream is closed'));
      });
    });
  }

  /** Waits, at most for the linger time, until everything is with the socket; then closes. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const flushed = within(this.#outbox.flushed(), { timeoutMs: this.#lingerMs, what: 'flush' });
    await flushed.catch(() => undefined);
    this.#outbox.close();
    await this.#bound.close();
  }
}

/** Broadcasts: every subscriber gets every message, except those it is too slow for. Nobody is waited for. */
export class Publisher extends Sender {
  /** @throws the socket's error when the address cannot be bound, ValueError for a key that is none. */
  static override async bind(options: PublishingOptions): Promise<Publisher> {
    return new Publisher(await open('broadcast', options));
  }
}

/** Distributes: each message goes to one consumer, in turn. While there is none, messages wait in a bounded queue. */
export class Distributor extends Sender {
  /** @throws the socket's error when the address cannot be bound, ValueError for a key that is none. */
  static override async bind(options: PublishingOptions): Promise<Distributor> {
    return new Distributor(await open('distribute', options));
  }
}

type Sendable = Awaited<ReturnType<typeof bindStream>>['socket'];

interface SenderParts {
  readonly bound: BoundSocket<Sendable>;
  readonly outbox: Outbox;
  readonly serializer: Pick<Serializer, 'pack'>;
  readonly limits: PeerLimits;
  readonly lingerMs: number;
}

async function open(pattern: StreamPattern, options: PublishingOptions): Promise<SenderParts> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const lingerMs = options.lingerMs ?? LINGER_MS;
  const logger = options.logger ?? silentLogger;
  const metrics = declarePeerMetrics(options.metrics ?? noMetrics);
  const bound = await bindStream({
    pattern,
    address: options.address,
    curve: options.curve,
    limits,
    lingerMs,
    logger,
    faults: new FaultLog(logger),
    onHandshakeFailure: (reason) => {
      metrics.handshakeFailures.increment({ reason });
    },
  });
  const labels = { endpoint: bound.endpoint };
  const outbox = new Outbox({
    write: (frames) => bound.socket.send([...frames]),
    limits,
    onBacklog: (messages, bytes) => {
      metrics.queued.set(messages, labels);
      metrics.queuedBytes.set(bytes, labels);
    },
  });
  return { bound, outbox, serializer: options.serializer, limits, lingerMs };
}
