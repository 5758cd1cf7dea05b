import { Context, Router } from 'zeromq';
import type { Logger } from '../../core/logger.js';
import { deferred, within } from '../../core/async.js';
import type { FaultLog } from '../fault-log.js';
import type { PeerLimits } from '../peer-options.js';
import { checkKeys, ZAP_DOMAIN } from './curve.js';
import type { CurveServerCredentials } from './curve.js';
import { Outbox } from './outbox.js';
import type { SendOutcome } from './outbox.js';
import { watchEvents } from './socket-events.js';
import type { EventWatch } from './socket-events.js';
import { receiveLoop } from './transport.js';
import type { Transport } from './transport.js';
import { ZapHandler } from './zap.js';

export interface RouterSocketOptions {
  readonly address: string;
  readonly curve: CurveServerCredentials | undefined;
  readonly limits: PeerLimits;
  readonly lingerMs: number;
  readonly logger: Logger;
  readonly faults: FaultLog;
  /** A client that did not get through: `auth` (key refused), `protocol` (wrong mechanism or server key), `other`. */
  readonly onHandshakeFailure: (reason: HandshakeFailure) => void;
}

export type HandshakeFailure = 'auth' | 'protocol' | 'other';

/** How long to wait until the system has released the port after closing. */
const RELEASE_PORT_MS = 1000;

/** The bound side: one ROUTER for all callers. */
export class RouterSocket implements Transport {
  readonly endpoint: string;
  readonly #socket: Router;
  readonly #zap: ZapHandler | undefined;
  readonly #watch: EventWatch;
  /** Resolves when the system has the port back. */
  readonly #released: Promise<void>;
  readonly #outbox: Outbox;
  readonly #logger: Logger;
  #closing: Promise<void> | undefined;

  private constructor(
    socket: Router,
    endpoint: string,
    zap: ZapHandler | undefined,
    watch: EventWatch,
    released: Promise<void>,
    options: RouterSocketOptions,
  ) {
    this.#socket = socket;
    this.endpoint = endpoint;
    this.#zap = zap;
    this.#watch = watch;
    this.#released = released;
    this.#logger = options.logger;
    this.#outbox = new Outbox({
      write: (frames) => socket.send([...frames]),
      maxQueuedPerPeer: options.limits.maxQueuedPerPeer,
      maxQueued: options.limits.maxQueued,
    });
  }

  /**
   * @throws ValueError for a key that is none, or the socket's error (`EADDRINUSE`, `EINVAL`, ...), with everything
   * closed again.
   */
  static async bind(options: RouterSocketOptions): Promise<RouterSocket> {
    const { address, curve, limits, lingerMs, logger } = options;
    if (curve) checkKeys({ secretKey: curve.secretKey });
    // A context has one ZAP endpoint. With a context of its own, every bound peer has its own set of accepted keys.
    const context = new Context();
    const zap = curve
      ? await ZapHandler.bind({ context, accepts: curve.accepts, logger, faults: options.faults })
      : undefined;
    const socket = new Router({
      context,
      linger: lingerMs,
      // With `mandatory` a full or absent peer is an error we see; without it the reply would be lost in silence.
      mandatory: true,
      // Never wait inside the socket: the outbox retries, and meanwhile serves the other peers.
      sendTimeout: 0,
      maxMessageSize: limits.maxMessageBytes,
    });
    const released = deferred<void>();
    const watch = watchEvents(socket, (event) => {
      if (event.type === 'close') released.resolve();
      else reportFailure(event.type, options.onHandshakeFailure);
    });
    try {
      if (curve) {
        socket.zapDomain = ZAP_DOMAIN;
        socket.zapEnforceDomain = true;
        socket.curveServer = true;
        socket.curveSecretKey = curve.secretKey;
      }
      await socket.bind(withWildcardPort(address));
      return new RouterSocket(socket, socket.lastEndpoint ?? address, zap, watch, released.promise, options);
    } catch (error) {
      socket.close();
      watch.end();
      zap?.close();
      throw error;
    }
  }

  start(onFrames: (frames: readonly Uint8Array[]) => void): void {
    void receiveLoop(this.#socket, onFrames, this.#logger);
  }

  send(peer: string, frames: readonly Uint8Array[]): Promise<SendOutcome> {
    return this.#outbox.send(peer, frames);
  }

  close(flushMs: number): Promise<void> {
    this.#closing ??= this.#close(flushMs);
    return this.#closing;
  }

  async #close(flushMs: number): Promise<void> {
    await within(this.#outbox.flushed(), { timeoutMs: flushMs, what: 'flush' }).catch(() => undefined);
    this.#outbox.close();
    // Closing goes on in ZeroMQ's own thread; whoever binds the port next should not have to know. Not `unbind`: it
    // runs in a worker thread and races with the pending receive, which makes libzmq abort the process.
    this.#socket.close();
    this.#watch.end();
    await within(this.#released, { timeoutMs: RELEASE_PORT_MS, what: 'close' }).catch(() => undefined);
    this.#zap?.close();
  }
}

/** ZeroMQ spells "any free port" as `*`; port 0 means the same here. */
function withWildcardPort(address: string): string {
  return address.replace(/^(tcp:\/\/.*):0$/, '$1:*');
}

function reportFailure(eventType: string, report: (reason: HandshakeFailure) => void): void {
  switch (eventType) {
    case 'handshake:error:auth':
      report('auth');
      break;
    case 'handshake:error:protocol':
      report('protocol');
      break;
    case 'handshake:error:other':
      report('other');
      break;
    default:
  }
}
