import { once } from 'node:events';
import { Redis } from 'ioredis';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';

/** One server, or the master that sentinels know by name (spec/events-and-stores.md 2.1). */
export interface RedisTarget {
  /** Ignored when there are sentinels. */
  readonly addr: { readonly host: string; readonly port: number } | null;
  readonly sentinels: readonly { readonly host: string; readonly port: number }[];
  readonly serviceName: string | null;
  readonly user: string | null;
  readonly password: string | null;
  readonly useTls: boolean;
  readonly tlsSkipVerify: boolean;
  readonly connectTimeoutMs: number;
  /** Limit of one command; null: one second, as the original has. */
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

const RECONNECT_MS = { first: 100, most: 5000 } as const;
const COMMAND_TIMEOUT_MS = 1000;

export interface RedisConnectionsOptions {
  readonly targetOf: (role: RedisRole) => RedisTarget;
  readonly logger: Logger;
}

/**
 * The connections of one process, one a role, opened when first used. A command fails at once while its server is
 * away and after its time limit while the server is frozen: whoever sends it decides what becomes of it. The
 * connection itself comes back for as long as the process lives.
 */
export class RedisConnections {
  readonly #targetOf: (role: RedisRole) => RedisTarget;
  readonly #logger: Logger;
  readonly #clients = new Map<RedisRole, Redis>();
  readonly #away = new Map<RedisRole, string>();

  constructor(options: RedisConnectionsOptions) {
    this.#targetOf = options.targetOf;
    this.#logger = options.logger;
  }

  client(role: RedisRole): Redis {
    const existing = this.#clients.get(role);
    if (existing) return existing;
    const client = new Redis(redisOptions(this.#targetOf(role), DATABASES[role]));
    client.on('error', (error: Error) => {
      this.#reportAway(role, messageOf(error));
    });
    client.on('ready', () => {
      if (this.#away.delete(role)) this.#logger.info('redis is back', { role });
    });
    this.#clients.set(role, client);
    return client;
  }

  /** Waits until a role's connection is up, but no longer than this: what is sent before is only turned back. */
  async whenReady(role: RedisRole, timeoutMs: number): Promise<void> {
    const client = this.client(role);
    if (client.status === 'ready') return;
    await once(client, 'ready', { signal: AbortSignal.timeout(timeoutMs) }).catch(() => undefined);
  }

  /** Role -> why it is away; empty when all that are used answer. */
  get away(): ReadonlyMap<RedisRole, string> {
    return this.#away;
  }

  /** Idempotent. */
  close(): Promise<void> {
    for (const client of this.#clients.values()) client.disconnect();
    this.#clients.clear();
    return Promise.resolve();
  }

  /** Once an absence: reconnecting repeats the same complaint for as long as it lasts. */
  #reportAway(role: RedisRole, reason: string): void {
    if (!this.#away.has(role)) this.#logger.warn('redis is away; trying on', { role, reason });
    this.#away.set(role, reason);
  }
}

function redisOptions(target: RedisTarget, db: number) {
  const { addr, sentinels, serviceName, user, password } = target;
  const tls = target.useTls ? { rejectUnauthorized: !target.tlsSkipVerify } : undefined;
  const retryStrategy = (times: number) => Math.min(RECONNECT_MS.first * 2 ** times, RECONNECT_MS.most);
  return {
    db,
    connectTimeout: target.connectTimeoutMs,
    commandTimeout: target.requestTimeoutMs ?? COMMAND_TIMEOUT_MS,
    // A command that waits for a connection, or is sent twice, is nobody's wish here.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy,
    ...(user === null ? {} : { username: user }),
    ...(password === null ? {} : { password }),
    ...(tls ? { tls } : {}),
    ...(sentinels.length > 0
      ? {
          sentinels: [...sentinels],
          name: serviceName ?? '',
          sentinelRetryStrategy: retryStrategy,
          failoverDetector: true,
          ...(password === null ? {} : { sentinelPassword: password }),
        }
      : { host: addr?.host ?? '127.0.0.1', port: addr?.port ?? 6379 }),
  };
}
