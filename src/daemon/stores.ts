import { once } from 'node:events';
import { join } from 'node:path';
import { type DaemonConfig, formatHostPort, type LoadedConfig, type Overlay } from '../config/index.js';
import { createCodec } from '../codec/index.js';
import { systemClock } from '../core/clock.js';
import type { DisposalStack } from '../core/disposal.js';
import type { Logger } from '../core/logger.js';
import type { Metrics } from '../core/metrics.js';
import { plainObject } from './plugin-settings.js';
import type { StoreWait } from './store-wait.js';
import type { EventSink } from '../events/catalogue.js';
import { EventEncoder } from '../events/event-encoder.js';
import { LocalEventBus } from '../events/local-event-bus.js';
import { Outbox } from '../events/outbox.js';
import { OutboxLog } from '../events/outbox-log.js';
import type { AgentEtcdView } from '../stores/agent-etcd-view.js';
import { StoreUnavailableError } from '../stores/errors.js';
import { EtcdStore } from '../stores/etcd-store.js';
import { FileStore, fileStorePath } from '../stores/file-store.js';
import type { KeyValueStore } from '../stores/key-value-store.js';
import { RedisConnections } from '../stores/redis-connections.js';
import { RedisEvents } from '../stores/redis-events.js';
import { readTlsFiles } from '../stores/tls-files.js';

const OUTBOX_FLUSH_MS = 5000;
const FIRST_CONNECTION_MS = 2000;

/**
 * etcd, or the file that stands in for it on a machine of its own.
 * @throws StoreKeyFileError for TLS files that cannot be used.
 */
export async function openKeyValueStore(
  config: DaemonConfig,
  stateRoot: string,
  logger: Logger,
): Promise<KeyValueStore> {
  if (config.store === 'file') return FileStore.open(fileStorePath(stateRoot), logger);
  const { addrs, credentials, tls } = config.etcd;
  return new EtcdStore({
    endpoints: addrs.map((addr) => `${tls ? 'https' : 'http'}://${formatHostPort(addr)}`),
    credentials,
    tls: tls && (await readTlsFiles(tls)),
    logger,
  });
}

/**
 * The configuration with what all nodes share laid over the file (spec/config-and-resources.md 1.5).
 * @throws StoreUnavailableError as long as nobody has written where Redis is.
 */
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
  const shared = loaded.withOverlay(overlay);
  const { eventBus, redis, etcd } = shared.config;
  if (eventBus === 'redis' && redis.addr === null && redis.sentinels.length === 0)
    throw new StoreUnavailableError(
      `config/redis in etcd (namespace ${etcd.namespace}) has neither addr nor sentinel: is it the manager's namespace?`,
    );
  return shared;
}

/**
 * Waits until a manager has registered, unless the configuration says not to (spec/events-and-stores.md 1.6).
 * @throws the signal's reason.
 */
export async function waitForManager(
  view: AgentEtcdView,
  options: { readonly signal: AbortSignal; readonly logger: Logger; readonly wait: StoreWait },
): Promise<void> {
  const { signal, logger, wait } = options;
  const appeared = new AbortController();
  const watch = await wait.until('the watch for managers in etcd', () =>
    view.watchPrefix('nodes/manager', ({ type, ...event }) => {
      if (type === 'put' && 'value' in event && event.value === 'up') appeared.abort();
    }),
  );
  try {
    const found = await wait.until('the list of managers in etcd', () => view.getPrefix('nodes/manager'));
    if (found.size > 0) return;
    logger.info('waiting for a manager to register in the store');
    const either = AbortSignal.any([appeared.signal, signal]);
    await wait.during('a manager to register in etcd', async () => {
      if (!either.aborted) await once(either, 'abort');
    });
    signal.throwIfAborted();
  } finally {
    await watch.close();
  }
}

export interface EventBus {
  readonly events: EventSink;
  /** Why events do not leave at present; null when they do. */
  readonly failure: () => string | null;
  /** The connections it goes over; null for the local bus. */
  readonly redis: RedisConnections | null;
}

/**
 * Where events go: Redis through the durable outbox, or this process alone. Without a deadline for the start, a Redis
 * that is away holds up nothing: kernels of an earlier run are served, and events wait in the outbox.
 * @throws StoreUnavailableError when there is a deadline and it passes.
 */
export async function openEventBus(options: {
  readonly config: DaemonConfig;
  readonly stateRoot: string;
  readonly parts: DisposalStack;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly wait: StoreWait;
}): Promise<EventBus> {
  const { config, stateRoot, parts, logger, metrics, wait } = options;
  if (config.eventBus === 'local')
    return { events: new LocalEventBus({ clock: systemClock }), failure: () => null, redis: null };
  const redis = new RedisConnections({
    targetOf: (role) => config.redis.overrides[role] ?? config.redis,
    logger,
    metrics,
    checkIntervalMs: config.stores.checkIntervalMs,
  });
  parts.defer('redis', () => redis.close());
  if (wait.leftMs === null) await wait.during('redis', () => redis.whenReady('stream', FIRST_CONNECTION_MS));
  else
    await wait.until('redis', async () => {
      if (await redis.whenReady('stream', FIRST_CONNECTION_MS)) return;
      throw new StoreUnavailableError(redis.away.get('stream') ?? 'no answer');
    });
  const kept = await OutboxLog.open(join(stateRoot, 'outbox.log'), logger);
  const outbox = new Outbox({
    encoder: new EventEncoder({
      managerVersion: config.managerVersion,
      codec: createCodec({ dialect: config.managerVersion === '25.17' ? '25.17' : '26.8' }),
    }),
    transport: new RedisEvents({ client: () => redis.client('stream'), logger }),
    ...kept,
    limits: config.outbox,
    clock: systemClock,
    logger,
    metrics,
  });
  parts.defer('outbox', () => outbox.close(OUTBOX_FLUSH_MS));
  return { events: outbox, failure: () => outbox.failure, redis };
}
