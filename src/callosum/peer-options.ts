import type { Logger } from '../core/logger.js';
import type { Metrics } from '../core/metrics.js';
import type { Deadlines } from './deadlines.js';
import type { ErrorDescription } from './errors.js';
import type { SchedulerName } from './scheduler.js';
import type { CurveClientCredentials, CurveServerCredentials } from './transport/curve.js';

/** Turns call arguments and results into payload bytes and back. Callosum itself never looks into a payload. */
export interface Serializer {
  /** @throws anything for a value that has no encoding; the call is then answered with FAILURE. */
  pack(value: unknown): Uint8Array;
  /** As `pack`, with so many free bytes in the same memory right before the result: saves a copy of every payload. */
  packWithRoom?(value: unknown, roomBytes: number): Uint8Array;
  /** @throws anything for bytes that are not exactly one value; the call is then answered with ERROR. */
  unpack(bytes: Uint8Array): unknown;
}

/** One FUNCTION message on its way to the handler. */
export interface IncomingCall {
  readonly method: string;
  /** The unpacked payload. */
  readonly body: unknown;
  /** Routing id of the caller in hex; empty where the transport has no peer ids (a connected peer). */
  readonly peer: string;
  /**
   * Aborts with a `CancelledError` when the caller cancels, a `TimeoutError` when the method's deadline passes, or a
   * `PeerClosedError` when a drain runs out of time.
   */
  readonly signal: AbortSignal;
  /** Calls the listener with the signal's reason as soon as it aborts, at once if it has. Cheaper than the signal. */
  onAbort(listener: (reason: Error) => void): void;
}

/**
 * Serves one call; its result, or what its result resolves to, is packed into the RESULT. A result that is there at
 * once is answered at once. Throw `UnknownMethodError` for a method that does not exist; anything else thrown becomes
 * a FAILURE.
 */
export type CallHandler = (call: IncomingCall) => unknown;

export type ErrorDescriber = (error: unknown) => ErrorDescription;

/** Bounds on everything the other side controls. Whoever meets one gets a FAILURE named `LimitExceededError`. */
export interface PeerLimits {
  /**
   * Largest frame taken or sent, also after decompression. A larger one is refused by name; at twice the size ZeroMQ
   * ends the connection, before anything is read into memory.
   */
  readonly maxMessageBytes: number;
  /** Calls of one caller that are not answered yet. */
  readonly maxInFlightPerPeer: number;
  /** Calls of all callers that are not answered yet. */
  readonly maxInFlight: number;
  /** Packed arguments of one caller's calls that are not answered yet. */
  readonly maxInFlightBytesPerPeer: number;
  /** Packed arguments of all calls that are not answered yet. */
  readonly maxInFlightBytes: number;
  /** Handlers that run at once under the `concurrent` scheduler; above `maxInFlightPerPeer`, so that no caller can take them all. */
  readonly maxRunning: number;
  /** Messages that wait for one caller who does not read. */
  readonly maxQueuedPerPeer: number;
  /** Messages that wait for all callers together. */
  readonly maxQueued: number;
  /** Bytes that wait for one caller who does not read; ZeroMQ itself holds up to 64 messages more. */
  readonly maxQueuedBytesPerPeer: number;
  /** Bytes that wait for all callers together. */
  readonly maxQueuedBytes: number;
  /** Connections of a bound peer; above it, newcomers are refused their calls. */
  readonly maxConnections: number;
  /** How long a connection may take for the handshake of ZeroMQ and CURVE. */
  readonly maxHandshakeMs: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_LIMITS: PeerLimits = {
  maxMessageBytes: 16 * MIB,
  maxInFlightPerPeer: 1024,
  maxInFlight: 4096,
  maxInFlightBytesPerPeer: 64 * MIB,
  maxInFlightBytes: 256 * MIB,
  maxRunning: 2048,
  maxQueuedPerPeer: 2048,
  maxQueued: 16_384,
  maxQueuedBytesPerPeer: 64 * MIB,
  maxQueuedBytes: 256 * MIB,
  maxConnections: 1024,
  maxHandshakeMs: 10_000,
};

interface CommonOptions {
  /** ZeroMQ endpoint such as `tcp://127.0.0.1:6001`. */
  readonly address: string;
  readonly serializer: Serializer;
  readonly limits?: Partial<PeerLimits>;
  /** How a thrown value reads on the wire; default: no traceback frames and no file paths. */
  readonly describeError?: ErrorDescriber;
  /** Default `concurrent`. */
  readonly scheduler?: SchedulerName;
  /** Time limits for the calls this peer serves; default: none. */
  readonly deadlines?: Deadlines;
  /** Sends bodies of 1 KiB and more snappy-compressed where that makes them smaller; default false, as Python. */
  readonly compress?: boolean;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
  /** How long unsent data may outlive `close()`. */
  readonly lingerMs?: number;
}

export interface BindOptions extends CommonOptions {
  readonly handler: CallHandler;
  /** Absent: no authentication and no encryption. Whether the address permits that is the caller's policy. */
  readonly curve?: CurveServerCredentials;
}

export interface ConnectOptions extends CommonOptions {
  /** A connected peer may serve calls too. */
  readonly handler?: CallHandler;
  readonly curve?: CurveClientCredentials;
  /** Covers TCP connect, CURVE and the PING handshake; default 5000. */
  readonly handshakeTimeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** `'text'` and `'binary'` are the two empty keys managers send; they are never equal on the wire. */
export type OrderKey = 'text' | 'binary' | Uint8Array;

export interface InvokeOptions {
  /** Limit for the reply; absent: none. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** Default `'binary'`, as Python sends when no key is given. */
  readonly orderKey?: OrderKey;
  /** Routing id in hex of the peer to call; needed on a bound peer, meaningless on a connected one. */
  readonly peer?: string;
}

export interface CloseOptions {
  /** How long running calls may still finish; default 0. */
  readonly drainMs?: number;
}
