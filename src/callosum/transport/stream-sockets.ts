import { Publisher, Pull, Push, Subscriber } from 'zeromq';
import type { Logger } from '../../core/logger.js';
import type { FaultLog } from '../fault-log.js';
import { bindSocket } from './bound-socket.js';
import type { BoundSocket } from './bound-socket.js';
import type { HandshakeFailure } from './handshake-failure.js';
import { Connections } from './connections.js';
import { checkKeys } from './curve.js';
import type { CurveClientCredentials, CurveServerCredentials } from './curve.js';
import { createObserved } from './socket-events.js';
import { cutOffBytes } from './transport.js';

/** `broadcast`: every subscriber gets every message it keeps up with. `distribute`: one consumer gets each message. */
export type StreamPattern = 'broadcast' | 'distribute';

export interface StreamLimits {
  readonly maxMessageBytes: number;
  readonly maxHandshakeMs: number;
}

export interface StreamBindOptions {
  readonly pattern: StreamPattern;
  readonly address: string;
  readonly curve: CurveServerCredentials | undefined;
  readonly limits: StreamLimits;
  readonly lingerMs: number;
  readonly logger: Logger;
  readonly faults: FaultLog;
  readonly onHandshakeFailure: (reason: HandshakeFailure) => void;
}

/**
 * Binds the sending side of a stream.
 * @throws ValueError for a key that is none, or the socket's error.
 */
export function bindStream(options: StreamBindOptions): Promise<BoundSocket<Publisher | Push>> {
  const { pattern, limits, lingerMs: linger } = options;
  const common = { linger, sendTimeout: 0, handshakeInterval: limits.maxHandshakeMs };
  return bindSocket<Publisher | Push>(
    (context) =>
      pattern === 'broadcast' ? new Publisher({ context, ...common }) : new Push({ context, ...common }),
    { ...options, connections: new Connections(Infinity) },
  );
}

export interface StreamConnectOptions {
  readonly pattern: StreamPattern;
  readonly address: string;
  readonly curve: CurveClientCredentials | undefined;
  readonly limits: StreamLimits;
  readonly faults: FaultLog;
}

export interface StreamSource {
  readonly closed: boolean;
  receive(): Promise<readonly Uint8Array[]>;
  close(): void;
}

/**
 * Connects the receiving side of a stream and subscribes to everything. There is no PING: neither socket can send.
 * @throws ValueError for a key that is none, or the socket's error for a malformed address.
 */
export function connectStream({
  pattern,
  address,
  curve,
  limits,
  faults,
}: StreamConnectOptions): StreamSource {
  if (curve) checkKeys({ ...curve });
  const options = { linger: 0, maxMessageSize: cutOffBytes(limits) };
  const { socket, watch } = createObserved<Subscriber | Pull>(
    () => (pattern === 'broadcast' ? new Subscriber(options) : new Pull(options)),
    ({ type }) => {
      if (type.startsWith('handshake:error')) faults.warn('a stream could not be opened', type, { address });
    },
  );
  try {
    if (curve) {
      socket.curveServerKey = curve.serverPublicKey;
      socket.curvePublicKey = curve.publicKey;
      socket.curveSecretKey = curve.secretKey;
    }
    if (socket instanceof Subscriber) socket.subscribe();
    socket.connect(address);
  } catch (error) {
    socket.close();
    watch.end();
    throw error;
  }
  return {
    get closed() {
      return socket.closed;
    },
    receive: () => socket.receive(),
    close: () => {
      socket.close();
      watch.end();
    },
  };
}
