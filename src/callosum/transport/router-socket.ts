import { Router } from 'zeromq';
import { within } from '../../core/async.js';
import type { Logger } from '../../core/logger.js';
import type { FaultLog } from '../fault-log.js';
import type { PeerLimits } from '../peer-options.js';
import { bindSocket } from './bound-socket.js';
import type { BoundSocket } from './bound-socket.js';
import type { HandshakeFailure } from './handshake-failure.js';
import { Connections } from './connections.js';
import type { CurveServerCredentials } from './curve.js';
import { Outbox } from './outbox.js';
import type { OnOutcome } from './outbox.js';
import { cutOffBytes, receiveLoop } from './transport.js';
import type { Transport } from './transport.js';

export interface RouterSocketOptions {
  readonly address: string;
  readonly curve: CurveServerCredentials | undefined;
  readonly limits: PeerLimits;
  readonly lingerMs: number;
  readonly logger: Logger;
  readonly faults: FaultLog;
  readonly onHandshakeFailure: (reason: HandshakeFailure) => void;
  readonly onConnections: (open: number) => void;
  readonly onBacklog: (messages: number, bytes: number) => void;
}

/**
 * Messages of one connection inside ZeroMQ, either way. It counts messages, not bytes, so this is small; what waits
 * beyond lies in the outbox, whose bytes are bounded.
 */
const HIGH_WATER_MARK = 64;

/** The bound side: one ROUTER for all callers. */
export class RouterSocket implements Transport {
  readonly #bound: BoundSocket<Router>;
  readonly #connections: Connections;
  readonly #outbox: Outbox;
  readonly #logger: Logger;
  #closing: Promise<void> | undefined;

  private constructor(bound: BoundSocket<Router>, connections: Connections, options: RouterSocketOptions) {
    const { socket } = bound;
    this.#bound = bound;
    this.#connections = connections;
    this.#logger = options.logger;
    this.#outbox = new Outbox({
      write: (frames) => socket.send([...frames]),
      limits: options.limits,
      onBacklog: options.onBacklog,
    });
  }

  /**
   * @throws ValueError for a key that is none, or the socket's error (`EADDRINUSE`, `EINVAL`, ...), with everything
   * closed again.
   */
  static async bind(options: RouterSocketOptions): Promise<RouterSocket> {
    const { limits, lingerMs } = options;
    const connections = new Connections(limits.maxConnections, options.onConnections);
    const bound = await bindSocket(
      (context) =>
        new Router({
          context,
          linger: lingerMs,
          // With `mandatory` a full or absent peer is an error we see; else the reply would be lost in silence.
          mandatory: true,
          // Never wait inside the socket: the outbox retries, and meanwhile serves the other peers.
          sendTimeout: 0,
          sendHighWaterMark: HIGH_WATER_MARK,
          receiveHighWaterMark: HIGH_WATER_MARK,
          handshakeInterval: limits.maxHandshakeMs,
          maxMessageSize: cutOffBytes(limits),
        }),
      { ...options, connections },
    );
    return new RouterSocket(bound, connections, options);
  }

  get endpoint(): string {
    return this.#bound.endpoint;
  }

  get refusedAddresses(): ReadonlyMap<string, number> {
    return this.#bound.refusals.byAddress;
  }

  start(onFrames: (frames: readonly Uint8Array[]) => undefined): void {
    void receiveLoop(this.#bound.socket, onFrames, this.#logger);
  }

  send(peer: string, frames: readonly Uint8Array[], onOutcome?: OnOutcome): void {
    this.#outbox.send(peer, frames, onOutcome);
  }

  admits(peer: string): boolean {
    return this.#connections.admits(peer);
  }

  close(flushMs: number): Promise<void> {
    this.#closing ??= this.#close(flushMs);
    return this.#closing;
  }

  async #close(flushMs: number): Promise<void> {
    await within(this.#outbox.flushed(), { timeoutMs: flushMs, what: 'flush' }).catch(() => undefined);
    this.#outbox.close();
    await this.#bound.close();
  }
}
