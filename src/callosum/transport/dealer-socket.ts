import { Dealer } from 'zeromq';
import { deferred, within } from '../../core/async.js';
import { hasCode, messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { HandshakeError } from '../errors.js';
import type { PeerLimits } from '../peer-options.js';
import { isPong, pingFrames } from '../wire/frames.js';
import { checkKeys } from './curve.js';
import type { CurveClientCredentials } from './curve.js';
import { Outbox } from './outbox.js';
import type { OnOutcome } from './outbox.js';
import { createObserved } from './socket-events.js';
import type { EventWatch } from './socket-events.js';
import { cutOffBytes, receiveLoop } from './transport.js';
import type { Transport } from './transport.js';

export interface DealerSocketOptions {
  readonly address: string;
  readonly curve: CurveClientCredentials | undefined;
  readonly handshakeTimeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly limits: PeerLimits;
  readonly lingerMs: number;
  readonly logger: Logger;
  readonly onBacklog: (messages: number, bytes: number) => void;
}

/** TCP keepalive as the manager sets it: dead after 60 s of silence and three probes, 20 s apart. */
const KEEPALIVE = { tcpKeepalive: 1, tcpKeepaliveIdle: 60, tcpKeepaliveInterval: 20, tcpKeepaliveCount: 3 };

/** The connecting side: a DEALER that has seen the PONG of its peer. */
export class DealerSocket implements Transport {
  readonly endpoint: string;
  readonly refusedAddresses: ReadonlyMap<string, number> = new Map();
  readonly #socket: Dealer;
  readonly #watch: EventWatch;
  readonly #outbox: Outbox;
  readonly #logger: Logger;
  #closing: Promise<void> | undefined;

  private constructor(socket: Dealer, watch: EventWatch, options: DealerSocketOptions) {
    this.#socket = socket;
    this.#watch = watch;
    this.endpoint = options.address;
    this.#logger = options.logger;
    this.#outbox = new Outbox({
      write: (frames) => socket.send([...frames]),
      limits: options.limits,
      onBacklog: options.onBacklog,
    });
  }

  /**
   * Connects and exchanges PING and PONG.
   * @throws ValueError for a key that is none, HandshakeError with the most likely cause when no PONG comes in time;
   * nothing stays open then.
   */
  static async connect(options: DealerSocketOptions): Promise<DealerSocket> {
    const { address, curve, signal, handshakeTimeoutMs: timeoutMs } = options;
    if (curve) checkKeys({ ...curve });
    const { socket, handshake } = openDealer(options);
    try {
      if (curve) {
        socket.curveServerKey = curve.serverPublicKey;
        socket.curvePublicKey = curve.publicKey;
        socket.curveSecretKey = curve.secretKey;
      }
      socket.connect(address);
      await socket.send(pingFrames());
      const answer = Promise.race([socket.receive(), handshake.refused]);
      const reply = await within(answer, { timeoutMs, signal, what: address }).catch((error: unknown) => {
        if (!hasCode(error, 'TIMEOUT')) throw error;
        throw new HandshakeError(
          `${address}: no PONG within ${String(timeoutMs)} ms: ${handshake.lastSeen()}`,
          {
            cause: error,
            retryable: true,
          },
        );
      });
      if (!isPong(reply)) throw new HandshakeError(`${address}: the answer to PING is not PONG`);
      return new DealerSocket(socket, handshake.watch, options);
    } catch (error) {
      socket.linger = 0;
      socket.close();
      handshake.watch.end();
      if (hasCode(error, 'HANDSHAKE_FAILED') || hasCode(error, 'CANCELLED')) throw error;
      throw new HandshakeError(`${address}: cannot connect: ${messageOf(error)}`, { cause: error });
    }
  }

  start(onFrames: (frames: readonly Uint8Array[]) => undefined): void {
    void receiveLoop(this.#socket, onFrames, this.#logger);
  }

  send(peer: string, frames: readonly Uint8Array[], onOutcome?: OnOutcome): void {
    this.#outbox.send(peer, frames, onOutcome);
  }

  admits(): boolean {
    return true;
  }

  close(flushMs: number): Promise<void> {
    this.#closing ??= this.#close(flushMs);
    return this.#closing;
  }

  async #close(flushMs: number): Promise<void> {
    await within(this.#outbox.flushed(), { timeoutMs: flushMs, what: 'flush' }).catch(() => undefined);
    this.#outbox.close();
    this.#socket.close();
    this.#watch.end();
  }
}

interface Handshake {
  readonly watch: EventWatch;
  readonly refused: Promise<never>;
  readonly lastSeen: () => string;
}

/**
 * ZeroMQ reports a handshake that fails only as events. A refused key and differing mechanisms do not come right by
 * trying again, so `refused` rejects at once; everything else may, and `lastSeen` tells the user what to look at.
 */
function openDealer({ lingerMs, limits }: DealerSocketOptions): {
  readonly socket: Dealer;
  readonly handshake: Handshake;
} {
  const create = () =>
    new Dealer({ linger: lingerMs, sendTimeout: 0, maxMessageSize: cutOffBytes(limits), ...KEEPALIVE });
  let seen = 'nobody answers at this address';
  let broken = false;
  const refused = deferred<never>();
  const { socket, watch } = createObserved(create, (event) => {
    switch (event.type) {
      case 'connect':
        // Trying again must not hide why it failed before.
        if (!broken) seen = 'connected, but the other side does not answer as a Callosum peer';
        break;
      case 'handshake:error:auth':
        refused.reject(new HandshakeError(`${event.address}: the server refused our public key`));
        break;
      case 'handshake:error:protocol':
        refused.reject(
          new HandshakeError(
            `${event.address}: security mechanisms differ: one side uses CURVE, the other does not`,
          ),
        );
        break;
      case 'handshake:error:other':
        broken = true;
        seen = 'the server closed the connection during the handshake; is its public key the one we have?';
        break;
      default:
    }
  });
  return { socket, handshake: { watch, refused: refused.promise, lastSeen: () => seen } };
}
