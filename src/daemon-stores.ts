import { join } from 'node:path';
import type { DaemonConfig, LoadedConfig, Overlay } from './config/index.js';
import { createCodec } from './codec/index.js';
import { systemClock } from './core/clock.js';
import type { DisposalStack } from './core/disposal.js';
import { messageOf } from './core/errors.js';
import type { Logger } from './core/logger.js';
import type { Metrics } from './core/metrics.js';
import type { EventSink } from './events/catalogue.js';
import { EventEncoder } from './events/event-encoder.js';
import { LocalEventBus } from './events/local-event-bus.js';
import { Outbox } from './events/outbox.js';
import { OutboxLog } from './events/outbox-log.js';
import type { AgentEtcdView } from './stores/agent-etcd-view.js';
import { EtcdStore } from './stores/etcd-store.js';
import { FileStore, fileStorePath } from './stores/file-store.js';
import type { KeyValueStore } from './stores/key-value-store.js';
import type { NestedMap } from './stores/nested-map.js';
import { RedisConnections } from './stores/redis-connections.js';
import { RedisEvents } from './stores/redis-events.js';

const RETRY_MS = { first: 500, most: 10_000 } as const;
const OUTBOX_FLUSH_MS = 5000;
const FIRST_CONNECTION_MS = 2000;

/** etcd, or the file that stands in for it on a machine of its own. */
export async function openKeyValueStore(
  config: DaemonConfig,
  stateRoot: string,
  logger: Logger,
): Promise<KeyValueStore> {
  if (config.store === 'file') return FileStore.open(fileStorePath(stateRoot), logger);
  return new EtcdStore({
    endpoints: config.etcd.addrs.map(({ host, port }) => `http://${host}:${String(port)}`),
    credentials: config.etcd.credentials,
    logger,
  });
}

/**
 * Repeats until it works: what a store holds is needed before anything else can start. Says so once, then from time
 * to time.
 * @throws the signal's reason when the daemon is told to stop meanwhile.
 */
export async function untilAvailable<T>(
  what: string,
  attempt: () => Promise<T>,
  options: { readonly signal: AbortSignal; readonly logger: Logger },
): Promise<T> {
  const { signal, logger } = options;
  for (let waitMs: number = RETRY_MS.first; ; waitMs = Math.min(waitMs * 2, RETRY_MS.most)) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      logger.warn('waiting for a store', { what, error: messageOf(error), retryMs: waitMs });
    }
    await systemClock.sleep(waitMs, signal);
  }
}

/** The configuration with what all nodes share laid over the file (spec/config-and-resources.md 1.5). */
export async function withSharedConfig(loaded: LoadedConfig, view: AgentEtcdView): Promise<LoadedConfig> {
  const prefixes = [
    'config/redis',
    'config/agent',
    'config/container',
    'config/plugins/accelerator',
  ] as const;
  const trees = await Promise.all(prefixes.map((prefix) => view.getPrefix(prefix)));
  const overlay: Overlay = Object.fromEntries(
    prefixes.flatMap((prefix, index) => {
      const tree = trees[index];
      return tree && tree.size > 0 ? [[prefix, plainObject(tree)]] : [];
    }),
  );
  return loaded.withOverlay(overlay);
}

const plainObject = (tree: NestedMap): Record<string, unknown> =>
  Object.fromEntries(
    [...tree].map(([key, value]) => [key, value instanceof Map ? plainObject(value) : value]),
  );

/**
 * Waits until a manager has registered, unless the configuration says not to (spec/events-and-stores.md 1.6).
 * @throws the signal's reason.
 */
export async function waitForManager(
  view: AgentEtcdView,
  options: { readonly signal: AbortSignal; readonly logger: Logger },
): Promise<void> {
  const { signal, logger } = options;
  const appeared = new AbortController();
  const watch = await view.watchPrefix('nodes/manager', ({ type, ...event }) => {
    if (type === 'put' && 'value' in event && event.value === 'up') appeared.abort();
  });
  try {
    if ((await view.getPrefix('nodes/manager')).size > 0) return;
    logger.info('waiting for a manager to register in the store');
    await new Promise<void>((resolve, reject) => {
      appeared.signal.addEventListener('abort', () => {
        resolve();
      });
      signal.addEventListener('abort', () => {
        reject(signal.reason as Error);
      });
      if (appeared.signal.aborted) resolve();
      if (signal.aborted) reject(signal.reason as Error);
    });
  } finally {
    await watch.close();
  }
}

export interface EventBus {
  readonly events: EventSink;
  /** The connections it goes over; null for the local bus. */
  readonly redis: RedisConnections | null;
}

/** Where events go: Redis through the durable outbox, or this process alone. */
export async function openEventBus(options: {
  readonly config: DaemonConfig;
  readonly stateRoot: string;
  readonly parts: DisposalStack;
  readonly logger: Logger;
  readonly metrics: Metrics;
}): Promise<EventBus> {
  const { config, stateRoot, parts, logger, metrics } = options;
  if (config.eventBus === 'local') return { events: new LocalEventBus({ clock: systemClock }), redis: null };
  const redis = new RedisConnections({
    targetOf: (role) => config.redis.overrides[role] ?? config.redis,
    logger,
  });
  parts.defer('redis', () => redis.close());
  await redis.whenReady('stream', FIRST_CONNECTION_MS);
  const { log, entries } = await OutboxLog.open(join(stateRoot, 'outbox.log'), logger);
  const outbox = new Outbox({
    encoder: new EventEncoder({
      managerVersion: config.managerVersion,
      codec: createCodec({ dialect: config.managerVersion === '25.17' ? '25.17' : '26.8' }),
    }),
    transport: new RedisEvents(() => redis.client('stream')),
    log,
    entries,
    limits: config.outbox,
    clock: systemClock,
    logger,
    metrics,
  });
  parts.defer('outbox', () => outbox.close(OUTBOX_FLUSH_MS));
  return { events: outbox, redis };
}
