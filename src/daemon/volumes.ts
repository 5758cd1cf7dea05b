import { VolumeMounts } from '../agent/volume-mounts.js';
import { VolumeRequests } from '../agent/volume-requests.js';
import { createCodec } from '../codec/index.js';
import type { DaemonConfig } from '../config/index.js';
import { systemClock } from '../core/clock.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Metrics } from '../core/metrics.js';
import type { EventSink } from '../events/catalogue.js';
import { parseVolumeRequest } from '../events/volume-requests.js';
import type { AgentEtcdView } from '../stores/agent-etcd-view.js';
import type { RedisConnections } from '../stores/redis-connections.js';
import { RedisSubscriber } from '../stores/redis-subscriber.js';

const CHANNEL = 'events_all';
/** Where etcd says nothing (spec/events-and-stores.md 1.4, row 12). */
const UNMOUNT_TIMEOUT_MS = 60_000;

/** Hears and answers volume requests until it is closed; null without Redis, where nobody can ask. */
export function openVolumeRequests(parts: {
  readonly config: DaemonConfig;
  readonly agentIds: readonly AgentId[];
  readonly view: AgentEtcdView;
  readonly redis: RedisConnections | null;
  readonly events: EventSink;
  readonly cwd: string;
  readonly logger: Logger;
  readonly metrics: Metrics;
}): { close(): Promise<void> } | null {
  const { config, agentIds, view, redis, events, cwd, logger, metrics } = parts;
  if (!redis) return null;
  const { cohabitingStorageProxy, mountPath, mountOwner } = config.volumes;
  const codec = createCodec({ dialect: config.managerVersion === '25.17' ? '25.17' : '26.8' });
  const requests = new VolumeRequests({
    agentIds,
    mounts: cohabitingStorageProxy
      ? null
      : async () =>
          new VolumeMounts({
            root: mountPath ?? (await view.get('volumes/_mount')) ?? cwd,
            owner: mountOwner === '' ? null : mountOwner,
          }),
    unmountTimeoutMs: () => unmountTimeoutMs(view, logger),
    parse: (message) => parseVolumeRequest(message, codec),
    events,
    clock: systemClock,
    metrics,
    logger,
  });
  const subscriber = new RedisSubscriber({
    // Over one that hears a channel nothing else can be said.
    client: redis.client('stream').duplicate(),
    channel: CHANNEL,
    listener: requests.hear,
    logger,
  });
  return {
    close: async () => {
      await subscriber.close();
      await requests.idle();
    },
  };
}

async function unmountTimeoutMs(view: AgentEtcdView, logger: Logger): Promise<number> {
  const text = await view.get('config/watcher/file-io-timeout');
  if (text === null) return UNMOUNT_TIMEOUT_MS;
  const seconds = Number(text);
  if (text.trim() !== '' && Number.isFinite(seconds) && seconds > 0) return seconds * 1000;
  logger.warn('config/watcher/file-io-timeout is no number of seconds; 60 are taken', { value: text });
  return UNMOUNT_TIMEOUT_MS;
}
