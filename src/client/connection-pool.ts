import { Peer } from '../callosum/index.js';
import type { CurveClientCredentials, PeerLimits, Serializer } from '../callosum/index.js';
import { createCodec } from '../codec/index.js';
import { systemClock } from '../core/clock.js';
import type { Clock } from '../core/clock.js';
import { messageOf, RuntimeError } from '../core/errors.js';
import { silentLogger } from '../core/logger.js';
import type { Logger } from '../core/logger.js';
import { doubtsConnection } from './errors.js';

/** Where to connect, and as whom. Targets with equal address and keys share one connection. */
export interface ConnectionTarget {
  /** ZeroMQ endpoint such as `tcp://10.0.0.5:6001`. */
  readonly address: string;
  /** Absent: no authentication and no encryption. */
  readonly curve?: CurveClientCredentials;
}

export interface ConnectionPoolOptions {
  /** A connection nobody uses is closed after this time; default 60 000. */
  readonly idleCloseMs?: number;
  /** A connection that has not answered for this long is asked with `ping` before it is used; default 30 000. */
  readonly healthCheckAfterMs?: number;
  /** Limit of that `ping`; default 5 000. */
  readonly healthCheckTimeoutMs?: number;
  /** Covers TCP connect, CURVE and the opening PING; default 5 000. */
  readonly handshakeTimeoutMs?: number;
  readonly limits?: Partial<PeerLimits>;
  readonly serializer?: Serializer;
  readonly logger?: Logger;
  readonly clock?: Clock;
}

/**
 * Connections to daemons, one for each address and pair of keys, opened when first used. A connection in doubt is
 * checked before its next use, and replaced when it does not answer; nothing is sent while nobody calls.
 */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  readonly #idleCloseMs: number;
  readonly #healthCheckAfterMs: number;
  readonly #serializer: Serializer;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #connections = new Map<string, Connection>();
  #closing: Promise<void> | undefined;

  constructor(options: ConnectionPoolOptions = {}) {
    this.#options = options;
    this.#idleCloseMs = options.idleCloseMs ?? 60_000;
    this.#healthCheckAfterMs = options.healthCheckAfterMs ?? 30_000;
    this.#serializer = options.serializer ?? createCodec();
    this.#logger = options.logger ?? silentLogger;
    this.#clock = options.clock ?? systemClock;
  }

  /** Open or opening connections. */
  get size(): number {
    return this.#connections.size;
  }

  /**
   * Runs work over the connection to a target.
   * @throws HandshakeError when it cannot be opened, RuntimeError after `close`, and whatever the work throws.
   */
  async use<Result>(target: ConnectionTarget, work: (peer: Peer) => Promise<Result>): Promise<Result> {
    const connection = await this.#healthy(target);
    try {
      const result = await work(await connection.peer);
      connection.answered(this.#clock.monotonicMs());
      return result;
    } catch (error) {
      if (doubtsConnection(error)) connection.doubt();
      throw error;
    } finally {
      this.#release(connection);
    }
  }

  /** Closes every connection; calls under way are rejected. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= Promise.all(
      [...this.#connections.values()].map((connection) => this.#discard(connection, 'force')),
    ).then(() => undefined);
    return this.#closing;
  }

  /** A connection, taken, that answered lately or just now. */
  async #healthy(target: ConnectionTarget): Promise<Connection> {
    const connection = this.#take(target);
    try {
      await connection.peer;
    } catch (error) {
      this.#forget(connection);
      throw error;
    }
    if (!connection.isDue(this.#clock.monotonicMs(), this.#healthCheckAfterMs)) return connection;
    try {
      await connection.check(() => this.#ping(connection));
      return connection;
    } catch (error) {
      this.#logger.info('reconnecting: the connection does not answer', {
        address: target.address,
        error: messageOf(error),
      });
      this.#forget(connection);
      this.#release(connection);
    }
    const fresh = this.#take(target);
    try {
      await fresh.peer;
    } catch (error) {
      this.#forget(fresh);
      throw error;
    }
    return fresh;
  }

  #take(target: ConnectionTarget): Connection {
    if (this.#closing) throw new RuntimeError('the connection pool is closed');
    const key = keyOf(target);
    const existing = this.#connections.get(key);
    const connection = existing ?? new Connection(key, this.#connect(target), this.#clock.monotonicMs());
    this.#connections.set(key, connection);
    connection.take();
    return connection;
  }

  #connect(target: ConnectionTarget): Promise<Peer> {
    const { handshakeTimeoutMs, limits } = this.#options;
    return Peer.connect({
      address: target.address,
      serializer: this.#serializer,
      logger: this.#logger,
      ...(target.curve && { curve: target.curve }),
      ...(handshakeTimeoutMs !== undefined && { handshakeTimeoutMs }),
      ...(limits && { limits }),
    });
  }

  async #ping(connection: Connection): Promise<void> {
    const peer = await connection.peer;
    const body = { args: ['ping'], kwargs: {} };
    await peer.invoke('ping', body, { timeoutMs: this.#options.healthCheckTimeoutMs ?? 5000 });
    connection.answered(this.#clock.monotonicMs());
  }

  /** Takes a connection out of the pool; those who still use it may finish. */
  #forget(connection: Connection): void {
    if (this.#connections.get(connection.key) === connection) this.#connections.delete(connection.key);
    connection.forgotten = true;
  }

  #release(connection: Connection): void {
    connection.give();
    if (connection.users > 0) return;
    if (connection.forgotten) void this.#discard(connection);
    else
      connection.closeWhenIdle(this.#idleCloseMs, () => {
        void this.#discard(connection);
      });
  }

  async #discard(connection: Connection, force?: 'force'): Promise<void> {
    if (connection.users > 0 && force === undefined) return;
    this.#forget(connection);
    connection.cancelIdleClose();
    try {
      await (await connection.peer).close();
    } catch (error) {
      this.#logger.debug('closing a connection failed', { error: messageOf(error) });
    }
  }
}

class Connection {
  readonly key: string;
  readonly peer: Promise<Peer>;
  forgotten = false;
  users = 0;
  #lastAnswerMs: number;
  #doubtful = false;
  #check: Promise<void> | undefined;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(key: string, peer: Promise<Peer>, nowMs: number) {
    this.key = key;
    this.peer = peer;
    this.#lastAnswerMs = nowMs;
    peer.catch(() => undefined);
  }

  take(): void {
    this.users++;
    this.cancelIdleClose();
  }

  give(): void {
    this.users--;
  }

  answered(nowMs: number): void {
    this.#lastAnswerMs = nowMs;
    this.#doubtful = false;
  }

  doubt(): void {
    this.#doubtful = true;
  }

  isDue(nowMs: number, healthCheckAfterMs: number): boolean {
    return this.#doubtful || nowMs - this.#lastAnswerMs >= healthCheckAfterMs;
  }

  /** Callers who come while a check runs wait for that one. */
  check(run: () => Promise<void>): Promise<void> {
    this.#check ??= run().finally(() => {
      this.#check = undefined;
    });
    return this.#check;
  }

  closeWhenIdle(afterMs: number, close: () => void): void {
    this.#idleTimer = setTimeout(close, afterMs);
    // An idle connection is no reason for a program to stay.
    this.#idleTimer.unref();
  }

  cancelIdleClose(): void {
    clearTimeout(this.#idleTimer);
  }
}

function keyOf({ address, curve }: ConnectionTarget): string {
  return JSON.stringify([address, curve?.serverPublicKey ?? null, curve?.publicKey ?? null]);
}
