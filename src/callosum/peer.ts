import { LimitExceededError, ValueError } from '../core/errors.js';
import { silentLogger } from '../core/logger.js';
import type { Logger } from '../core/logger.js';
import { counterSeries, noMetrics } from '../core/metrics.js';
import type { CounterSeries } from '../core/metrics.js';
import { Callee } from './callee.js';
import { Caller } from './caller.js';
import { compileDeadlines } from './deadlines.js';
import { UnknownMethodError } from './errors.js';
import { createErrorDescriber } from './failure.js';
import { FaultLog } from './fault-log.js';
import { declarePeerMetrics } from './peer-metrics.js';
import type { PeerMetrics } from './peer-metrics.js';
import { DEFAULT_LIMITS } from './peer-options.js';
import type { BindOptions, CloseOptions, ConnectOptions, InvokeOptions, PeerLimits } from './peer-options.js';
import { createScheduler } from './scheduler.js';
import { DealerSocket } from './transport/dealer-socket.js';
import type { OnOutcome } from './transport/outbox.js';
import { RouterSocket } from './transport/router-socket.js';
import type { Transport } from './transport/transport.js';
import { RoutingIds } from './wire/routing-ids.js';
import { pongFrames, readFrames, upperFrames } from './wire/frames.js';
import { decodeMessage, encodeMessage, MESSAGE_TYPES } from './wire/message.js';
import type { EncodeOptions, Message, MessageFault, MessageType } from './wire/message.js';

const HANDSHAKE_TIMEOUT_MS = 5000;
/** A bound peer may owe large replies to slow callers; a connecting one owes little. */
const BIND_LINGER_MS = 1000;
const CONNECT_LINGER_MS = 100;

/** One end of a Callosum connection: serves calls through its handler and invokes calls on the other side. */
export class Peer {
  readonly #transport: Transport;
  readonly #role: 'bound' | 'connected';
  readonly #callee: Callee;
  readonly #caller: Caller;
  readonly #limits: PeerLimits;
  readonly #compress: EncodeOptions;
  readonly #lingerMs: number;
  readonly #logger: Logger;
  readonly #metrics: PeerMetrics;
  readonly #received: Readonly<Record<MessageType, CounterSeries>>;
  readonly #faults: FaultLog;
  readonly #routingIds = new RoutingIds();
  #closing: Promise<void> | undefined;

  private constructor(
    transport: Transport,
    role: 'bound' | 'connected',
    options: BindOptions | ConnectOptions,
    parts: Parts,
  ) {
    this.#transport = transport;
    this.#role = role;
    this.#limits = parts.limits;
    this.#lingerMs = parts.lingerMs;
    this.#logger = parts.logger;
    this.#metrics = parts.metrics;
    this.#received = receivedByType(parts.metrics);
    this.#faults = parts.faults;
    this.#compress = { compress: options.compress ?? false };
    const send = (peer: string, message: Message, onOutcome?: OnOutcome) => {
      this.#send(peer, message, onOutcome);
    };
    const { maxMessageBytes } = parts.limits;
    this.#caller = new Caller({ serializer: options.serializer, maxMessageBytes, send });
    this.#callee = new Callee({
      handler: options.handler ?? noMethods,
      serializer: options.serializer,
      scheduler: createScheduler(options.scheduler ?? 'concurrent', parts.limits),
      limits: parts.limits,
      deadlineOf: parts.deadlineOf,
      admits: (peer) => transport.admits(peer),
      describeError: options.describeError ?? createErrorDescriber(),
      send,
      endpoint: transport.endpoint,
      logger: parts.logger,
      faults: parts.faults,
      metrics: parts.metrics,
    });
    transport.start((frames) => {
      this.#onFrames(frames);
      return undefined;
    });
  }

  /**
   * Serves calls on a ROUTER socket. With `curve`, only clients whose key it accepts get through.
   * @throws the socket's error, such as `EADDRINUSE`, when the address cannot be bound.
   */
  static async bind(options: BindOptions): Promise<Peer> {
    const parts = compile(options, BIND_LINGER_MS);
    const transport = await RouterSocket.bind({
      address: options.address,
      curve: options.curve,
      limits: parts.limits,
      lingerMs: parts.lingerMs,
      logger: parts.logger,
      faults: parts.faults,
      onHandshakeFailure: (reason) => {
        parts.metrics.handshakeFailures.increment({ reason });
        parts.faults.warn('a client did not get through the handshake', reason);
      },
      onConnections: (open) => {
        parts.metrics.connections.set(open, parts.labels);
      },
      onBacklog: backlogGauge(parts),
    });
    parts.labels.endpoint = transport.endpoint;
    return new Peer(transport, 'bound', options, parts);
  }

  /**
   * Connects a DEALER socket and waits for the PONG.
   * @throws HandshakeError when no PONG comes in time, CancelledError when the signal aborts.
   */
  static async connect(options: ConnectOptions): Promise<Peer> {
    const parts = compile(options, CONNECT_LINGER_MS);
    const transport = await DealerSocket.connect({
      address: options.address,
      curve: options.curve,
      handshakeTimeoutMs: options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS,
      signal: options.signal,
      limits: parts.limits,
      lingerMs: parts.lingerMs,
      logger: parts.logger,
      onBacklog: backlogGauge(parts),
    });
    return new Peer(transport, 'connected', options, parts);
  }

  /** The actual endpoint: with the port the system chose when the address asked for port 0 or `*`. */
  get endpoint(): string {
    return this.#transport.endpoint;
  }

  /** How often clients were refused for their key, by IP address; the addresses seen last. */
  get refusedAddresses(): ReadonlyMap<string, number> {
    return this.#transport.refusedAddresses;
  }

  /** Calls received and not yet answered. */
  get inFlight(): number {
    return this.#callee.inFlight;
  }

  /**
   * Calls a method of the other side and returns its unpacked result. When the time limit passes or the signal
   * aborts, the other side is told with CANCEL.
   * @throws RemoteUserError (FAILURE), RemoteInternalError (ERROR), TimeoutError, CancelledError, PeerClosedError,
   * LimitExceededError, and whatever the serializer throws.
   */
  async invoke(method: string, body: unknown, options: InvokeOptions = {}): Promise<unknown> {
    if (this.#role === 'bound' && options.peer === undefined)
      throw new ValueError(`${method}: a bound peer has to name the peer to call`);
    const peer = this.#role === 'bound' ? (options.peer ?? '') : '';
    return await this.#caller.invoke(peer, method, body, options);
  }

  /**
   * Refuses new calls with a reply, lets running ones finish for `drainMs`, aborts and answers the rest, flushes the
   * replies and closes. Idempotent: a later call returns the same promise.
   */
  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options.drainMs ?? 0);
    return this.#closing;
  }

  async #close(drainMs: number): Promise<void> {
    await this.#callee.drain(drainMs);
    this.#caller.close();
    await this.#transport.close(this.#lingerMs);
  }

  #onFrames(frames: readonly Uint8Array[]): void {
    const incoming = readFrames(frames);
    switch (incoming.kind) {
      case 'ping':
        this.#transport.send(this.#routingIds.textOf(incoming.envelope[0]), pongFrames(incoming));
        break;
      case 'upper':
        this.#onUpper(this.#routingIds.textOf(incoming.peer), incoming.header, incoming.body);
        break;
      case 'ignored':
        this.#malformed(incoming.fault, '');
        break;
    }
  }

  #onUpper(peer: string, header: Uint8Array, body: Uint8Array): void {
    const decoded = decodeMessage(header, body, { maxBodyBytes: this.#limits.maxMessageBytes });
    if (!decoded.ok) {
      this.#malformed(decoded.fault, peer);
      if (decoded.request) this.#callee.onUnreadable(peer, decoded.request, this.#unreadable(decoded.fault));
      return;
    }
    const { message } = decoded;
    this.#received[message.type].increment();
    switch (message.type) {
      case 'FUNCTION':
        this.#callee.onFunction(peer, message.id, message.payload);
        break;
      case 'CANCEL':
        this.#callee.onCancel(peer, message.id);
        break;
      case 'NULL':
        break;
      default:
        if (!this.#caller.onReply(peer, message))
          this.#logger.debug('a reply nobody waits for', {
            peer,
            method: message.id.method,
            type: message.type,
          });
    }
  }

  #unreadable(fault: MessageFault): ValueError | LimitExceededError {
    if (fault !== 'body-too-large') return new ValueError(`unreadable message: ${fault}`);
    this.#metrics.refused.increment({ limit: 'maxMessageBytes' });
    return new LimitExceededError(`a body has more than ${String(this.#limits.maxMessageBytes)} bytes`);
  }

  #send(peer: string, message: Message, onOutcome?: OnOutcome): void {
    const { header, body } = encodeMessage(message, this.#compress);
    const routingId = this.#role === 'bound' ? this.#routingIds.frameOf(peer) : undefined;
    this.#transport.send(peer, upperFrames(routingId, header, body), onOutcome);
  }

  #malformed(reason: string, peer: string): void {
    this.#metrics.malformed.increment({ reason });
    this.#faults.warn('a message could not be read', reason, { peer });
  }
}

interface Parts {
  readonly limits: PeerLimits;
  readonly lingerMs: number;
  readonly logger: Logger;
  readonly metrics: PeerMetrics;
  readonly faults: FaultLog;
  readonly deadlineOf: (method: string) => number | undefined;
  /** Of gauges; the address until the endpoint is known. */
  readonly labels: { endpoint: string };
}

function compile(options: BindOptions | ConnectOptions, lingerMs: number): Parts {
  const logger = options.logger ?? silentLogger;
  return {
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    lingerMs: options.lingerMs ?? lingerMs,
    logger,
    metrics: declarePeerMetrics(options.metrics ?? noMetrics),
    faults: new FaultLog(logger),
    deadlineOf: compileDeadlines(options.deadlines ?? {}),
    labels: { endpoint: options.address },
  };
}

function receivedByType({ received }: PeerMetrics): Readonly<Record<MessageType, CounterSeries>> {
  const series = MESSAGE_TYPES.map((type) => [type, counterSeries(received, { type })] as const);
  return Object.fromEntries(series) as Record<MessageType, CounterSeries>;
}

function backlogGauge({ metrics, labels }: Parts): (messages: number, bytes: number) => void {
  return (messages, bytes) => {
    metrics.queued.set(messages, labels);
    metrics.queuedBytes.set(bytes, labels);
  };
}

function noMethods({ method }: { readonly method: string }): Promise<never> {
  return Promise.reject(new UnknownMethodError(method));
}
