import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { DaemonConfig } from '../config/index.js';
import { within } from '../core/async.js';
import type { Clock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { VERSION } from '../core/version.js';
import type { EventSink } from '../events/catalogue.js';
import { Rounds } from '../stats/index.js';
import type { AgentEtcdView } from '../stores/agent-etcd-view.js';
import type { RedisConnections } from '../stores/redis-connections.js';
import {
  EtcdServiceRecords,
  RedisServiceRecords,
  type ServiceRecord,
  type ServiceRecords,
} from '../stores/service-records.js';

/** spec/events-and-stores.md 8.1 */
const REFRESH_MS = 60_000;
const SWEEP_MS = 600_000;
const CONNECT_MS = 5000;
/** A stop waits no longer for a store that is away. */
const REMOVAL_MS = 2000;

interface DiscoveryParts {
  readonly config: DaemonConfig;
  /** The default agent, which lends the record its name. */
  readonly agentId: AgentId;
  readonly view: AgentEtcdView;
  readonly redis: RedisConnections | null;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Announces this process to service discovery, until it is closed. */
export function openServiceDiscovery(parts: DiscoveryParts): { close(): Promise<void> } {
  const closers = [...announceRecord(parts), ...announceService(parts)];
  return {
    close: async () => {
      await Promise.all(closers.map((close) => close()));
    },
  };
}

/** The record by which Prometheus finds `/metrics`; there is none where `/metrics` is not served. */
function announceRecord({
  config,
  agentId,
  view,
  redis,
  clock,
  logger,
}: DiscoveryParts): (() => Promise<void>)[] {
  if (config.http.listen === null) return [];
  const opened = recordsOf(config, view, redis);
  if (!opened) return [];
  const { records, whenReady, close } = opened;
  const { host, port } = config.http.announced;
  const record: ServiceRecord = {
    id: recordId(agentId, `${host}:${String(port)}`),
    displayName: `agent-${agentId}`,
    serviceGroup: 'agent',
    version: VERSION,
    endpoint: { host, port },
    registeredAtMs: clock.nowMs(),
    labels: config.managerVersion === '25.17' ? null : config.serviceDiscovery.extraLabels,
  };
  const common = { clock, logger };
  const rounds = [
    new Rounds({
      ...common,
      name: 'service discovery',
      intervalMs: REFRESH_MS,
      round: async () => {
        await whenReady();
        await records.put(record, clock.nowMs());
      },
    }),
    new Rounds({
      ...common,
      name: 'sweep of service discovery',
      intervalMs: SWEEP_MS,
      round: async () => {
        const stale = await records.sweep(record, clock.nowMs());
        if (stale.length > 0) logger.info('records of services that are gone were removed', { stale });
      },
    }),
  ];
  return [
    async () => {
      await Promise.all(rounds.map((round) => round.stop()));
      // Left behind it would point at nothing for minutes; what cannot be removed ends with its lifetime.
      const removal = { timeoutMs: REMOVAL_MS, what: 'the removal of the service record' };
      await within(records.remove(record), removal).catch((error: unknown) => {
        logger.warn('the service record stays until it expires', { error: messageOf(error) });
      });
      close();
    },
  ];
}

interface OpenedRecords {
  readonly records: ServiceRecords;
  /** The first record would come a minute late if the connection were just being opened. */
  readonly whenReady: () => Promise<void>;
  readonly close: () => void;
}

function recordsOf(
  config: DaemonConfig,
  view: AgentEtcdView,
  redis: RedisConnections | null,
): OpenedRecords | null {
  if (config.serviceDiscovery.type === 'etcd')
    return config.store === 'etcd'
      ? {
          records: new EtcdServiceRecords(view),
          whenReady: () => Promise.resolve(),
          close: () => undefined,
        }
      : null;
  if (!redis) return null;
  // The server of the role, but database 0 (spec/events-and-stores.md 2.2).
  const client = redis.client('live').duplicate({ db: 0 });
  client.on('error', () => undefined);
  return {
    records: new RedisServiceRecords(() => client),
    whenReady: async () => {
      if (client.status === 'ready') return;
      const signal = AbortSignal.timeout(CONNECT_MS);
      await once(client, 'ready', { signal }).catch(() => undefined);
    },
    close: () => {
      client.disconnect();
    },
  };
}

/**
 * The same after every start, so that a crash leaves no second record behind, and another for each node, also where
 * all announce `host.docker.internal`.
 */
function recordId(agentId: AgentId, address: string): string {
  const bytes = createHash('sha256').update(`splenium service record\n${agentId}\n${address}`).digest();
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join(
    '-',
  );
}

/** Events of 26.x managers, where a group is configured. */
function announceService({
  config,
  agentId,
  events,
  clock,
  logger,
}: DiscoveryParts): (() => Promise<void>)[] {
  const { serviceGroup, instanceId, displayName, extraLabels, endpoints } = config.serviceDiscovery;
  if (serviceGroup === null || serviceGroup === '' || config.managerVersion === '25.17') return [];
  const instance = { instanceId: instanceId ?? agentId, serviceGroup };
  const startedAtMs = clock.nowMs();
  const rounds = new Rounds({
    name: 'announcement of the service',
    intervalMs: REFRESH_MS,
    round: () =>
      events.publish(agentId, {
        name: 'service_registered',
        ...instance,
        displayName: displayName ?? `agent-${agentId}`,
        version: VERSION,
        labels: extraLabels,
        endpoints,
        startedAtMs,
      }),
    clock,
    logger,
  });
  return [
    async () => {
      await rounds.stop();
      await events.publish(agentId, { name: 'service_deregistered', ...instance });
    },
  ];
}
