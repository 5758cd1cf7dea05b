import { Redis } from 'ioredis';
import { systemClock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { type Gauge, gaugeSeries, type Metrics, noMetrics } from '../core/metrics.js';
import { LayerMetrics } from './layer-metrics.js';
import { STORE_UP } from './store-up.js';

/** One server, or the master that sentinels know by name (spec/events-and-stores.md 2.1). */
export interface RedisTarget {
  /** Ignored when there are sentinels. */
  readonly addr: { readonly host: string; readonly port: number } | null;
  readonly sentinels: readonly { readonly host: string; readonly port: number }[];
  readonly serviceName: string | null;
  readonly user: string | null;
  readonly password: string | null;
  /** Of the sentinels themselves; null: `password`. */
  readonly sentinelPassword: string | null;
  readonly useTls: boolean;
  readonly tlsSkipVerify: boolean;
  readonly connectTimeoutMs: number;
  /** Limit of one command; null or 0: `COMMAND_TIMEOUT_MS`. */
  readonly requestTimeoutMs: number | null;
}

/** What a connection is for; each has a database number of its own (spec 2.2). */
export type RedisRole = 'statistics' | 'live' | 'image' | 'stream' | 'container_log' | 'bgtask';

const DATABASES: Readonly<Record<RedisRole, number>> = {
  statistics: 0,
  live: 2,
  image: 3,
  stream: 4,
  container_log: 6,
  bgtask: 7,
};

/** Names of the original's clients, for its metrics. */
const LAYERS: Readonly<Record<RedisRole, string>> = {
  statistics: 'valkey_stat',
  live: 'valkey_live',
  image: 'valkey_image',
  stream: 'valkey_stream',
  container_log: 'valkey_container_log',
  bgtask: 'valkey_bgtask',
};

const RECONNECT_MS = { first: 100, most: 5000 } as const;

/**
 * One second, as the original has. Nobody waits for an event to arrive, though, and one that is given up too early is
 * only sent again: a slow server gets the time it needs.
 */
const COMMAND_TIMEOUT_MS = { stream: 5000, others: 1000 } as const;
const SENTINEL_TIMEOUT_MS = 2000;
/** Between two questions whether a connection still works (spec/events-and-stores.md 2.3). */
const CHECK_INTERVAL_MS = 10_000;

export interface RedisConnectionsOptions {
  readonly targetOf: (role: RedisRole) => RedisTarget;
  readonly logger: Logger;
  /** Default: none. */
  readonly metrics?: Metrics;
  /** Default 10 000. */
  readonly checkIntervalMs?: number;
}

/**
 * The connections of one process, one a role, opened when first used. A command fails at once while its server is
 * away and after its time limit while the server is frozen: whoever sends it decides what becomes of it. The
 * connection itself comes back for as long as the process lives.
 *
 * A connection over which no answer comes in time is closed. The next one serves only after its server has answered,
 * so nothing piles up in front of a frozen server that it would carry out, late and doubled, when it goes on.
 */
export class RedisConnections {
  readonly #options: RedisConnectionsOptions;
  readonly #logger: Logger;
  readonly #clients = new Map<RedisRole, Redis>();
  readonly #away = new Map<RedisRole, string>();
  readonly #sinceMs = new Map<RedisRole, number>();
  /** How often each role's connection has been opened. */
  readonly #openings = new Map<RedisRole, number>();
  readonly #up: Gauge;
  readonly #layers: LayerMetrics;
  readonly #checks: NodeJS.Timeout;

  constructor(options: RedisConnectionsOptions) {
    this.#options = options;
    this.#logger = options.logger;
    const metrics = options.metrics ?? noMetrics;
    this.#up = metrics.gauge(STORE_UP);
    this.#layers = new LayerMetrics(metrics, systemClock);
    this.#checks = setInterval(() => {
      this.#check();
    }, options.checkIntervalMs ?? CHECK_INTERVAL_MS);
    this.#checks.unref();
  }

  client(role: RedisRole): Redis {
    const existing = this.#clients.get(role);
    if (existing) return existing;
    const client = new Redis(redisOptions(this.#options.targetOf(role), role));
    this.#layers.watch(client, LAYERS[role]);
    const up = gaugeSeries(this.#up, { store: 'redis', role });
    up.set(0);
    client.on('error', (error: Error) => {
      this.#reportAway(role, messageOf(error));
    });
    client.on('close', () => {
      up.set(0);
      if (this.#clients.get(role) === client) this.#reportAway(role, 'the connection was closed');
    });
    client.on('ready', () => {
      up.set(1);
      this.#openings.set(role, this.openings(role) + 1);
      this.#sinceMs.set(role, systemClock.nowMs());
      if (this.#away.delete(role)) this.#logger.info('redis is back', { role });
    });
    this.#clients.set(role, client);
    return client;
  }

  /** Waits until a role's connection is up, but no longer than this: what is sent before is only turned back. Is it? */
  async whenReady(role: RedisRole, timeoutMs: number): Promise<boolean> {
    const client = this.client(role);
    if (client.status === 'ready') return true;
    // Not `events.once`: that one would end with the first of the errors that come while the server is away.
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        client.off('ready', done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      client.on('ready', done);
    });
    return this.#clients.get(role)?.status === 'ready';
  }

  /** Of those that are in use. */
  get roles(): readonly RedisRole[] {
    return [...this.#clients.keys()];
  }

  /** Rises whenever a role's connection was opened: whatever the server held may be gone then. */
  openings(role: RedisRole): number {
    return this.#openings.get(role) ?? 0;
  }

  /** Role -> why it is away; empty when all that are used answer. */
  get away(): ReadonlyMap<RedisRole, string> {
    return this.#away;
  }

  /** Since when a role's server answers, or is away; null before the first of both. Milliseconds since the epoch. */
  sinceMs(role: RedisRole): number | null {
    return this.#sinceMs.get(role) ?? null;
  }

  /** Idempotent. */
  close(): Promise<void> {
    clearInterval(this.#checks);
    const clients = [...this.#clients.values()];
    this.#clients.clear();
    for (const client of clients) client.disconnect();
    return Promise.resolve();
  }

  /** One without an answer ends the connection, see `socketTimeout`; so one that died unnoticed is noticed. */
  #check(): void {
    for (const client of this.#clients.values())
      if (client.status === 'ready') client.ping().catch(() => undefined);
  }

  /** Once an absence: reconnecting repeats the same complaint for as long as it lasts. */
  #reportAway(role: RedisRole, reason: string): void {
    const known = this.#away.get(role);
    if (known === undefined) this.#sinceMs.set(role, systemClock.nowMs());
    if (known === undefined) this.#logger.warn('redis is away; trying on', { role, reason });
    // What comes first says why; that it is still closed says nothing more.
    if (known === undefined || reason !== 'the connection was closed') this.#away.set(role, reason);
  }
}

function redisOptions(target: RedisTarget, role: RedisRole) {
  const { addr, sentinels, serviceName, user, password, sentinelPassword } = target;
  const tls = target.useTls ? { rejectUnauthorized: !target.tlsSkipVerify } : undefined;
  const retryStrategy = (times: number) => Math.min(RECONNECT_MS.first * 2 ** times, RECONNECT_MS.most);
  const timeoutMs = target.requestTimeoutMs || COMMAND_TIMEOUT_MS[role === 'stream' ? 'stream' : 'others'];
  const ofSentinels = sentinelPassword ?? password;
  return {
    db: DATABASES[role],
    connectTimeout: target.connectTimeoutMs,
    // The first of the two to pass: the connection goes, and with it every command that waits for its answer.
    socketTimeout: timeoutMs,
    commandTimeout: timeoutMs + 500,
    // A command that waits for a connection, or is sent twice, is nobody's wish here.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy,
    // A master that has become a replica: look for the new one.
    reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? 1 : false),
    ...(user === null ? {} : { username: user }),
    ...(password === null ? {} : { password }),
    ...(tls ? { tls } : {}),
    ...(sentinels.length > 0
      ? {
          sentinels: [...sentinels],
          name: serviceName ?? '',
          sentinelRetryStrategy: retryStrategy,
          sentinelCommandTimeout: SENTINEL_TIMEOUT_MS,
          failoverDetector: true,
          ...(ofSentinels === null ? {} : { sentinelPassword: ofSentinels }),
          ...(tls ? { enableTLSForSentinelMode: true, sentinelTLS: tls } : {}),
        }
      : { host: addr?.host ?? '127.0.0.1', port: addr?.port ?? 6379 }),
  };
}
