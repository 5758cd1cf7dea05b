import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { VolumeMounts } from '../../src/agent/volume-mounts.js';
import { VolumeRequests } from '../../src/agent/volume-requests.js';
import { createCodec } from '../../src/codec/index.js';
import { systemClock } from '../../src/core/clock.js';
import { parseAgentId } from '../../src/core/ids.js';
import { silentLogger } from '../../src/core/logger.js';
import { noMetrics } from '../../src/core/metrics.js';
import { parseVolumeRequest } from '../../src/events/volume-requests.js';
import { AgentEtcdView } from '../../src/stores/agent-etcd-view.js';
import { EtcdStore } from '../../src/stores/etcd-store.js';
import { RedisSubscriber } from '../../src/stores/redis-subscriber.js';
import { RedisKernelPresence } from '../../src/stores/redis-kernel-presence.js';
import {
  EtcdServiceRecords,
  RedisServiceRecords,
  type ServiceRecord,
} from '../../src/stores/service-records.js';
import { EtcdServer } from '../support/etcd-server.js';
import { eventually } from '../support/eventually.js';
import { RecordedEvents } from '../support/recorded-events.js';
import { Original } from '../support/original.js';
import { RedisServer } from '../support/redis-server.js';
import { describeRequiring, ORIGINAL_PYTHON, ORIGINAL_PYTHON_26 } from '../support/requirements.js';

const NOW = 1_800_000_000_000;

const record = (changes: Partial<ServiceRecord> = {}): ServiceRecord => ({
  id: randomUUID(),
  displayName: 'agent-i-one',
  serviceGroup: 'agent',
  version: '0.1.0',
  endpoint: { host: 'node1.example.org', port: 6003 },
  registeredAtMs: NOW - 5000,
  labels: null,
  ...changes,
});

/** What the original's reader makes of a record. */
const asRead = ({ id, labels }: ServiceRecord): unknown =>
  expect.objectContaining({
    id,
    display_name: 'agent-i-one',
    service_group: 'agent',
    version: '0.1.0',
    endpoint: {
      address: 'node1.example.org:6003',
      port: 6003,
      protocol: 'http',
      prometheus_address: 'node1.example.org:6003',
    },
    health_status: { registration_time: NOW / 1000 - 5, last_heartbeat: NOW / 1000 },
    ...(labels === null ? {} : { labels }),
  });

describe.each([
  { line: '25.17', python: ORIGINAL_PYTHON, labels: null },
  { line: '26.9', python: ORIGINAL_PYTHON_26, labels: { zone: 'a' } },
])('service discovery of $line', ({ python, labels }) => {
  describeRequiring(python, 'the original’s reader', (interpreter) => {
    let original: Original;
    beforeAll(() => {
      original = new Original(interpreter);
    });
    afterAll(async () => {
      await original.end();
    }, 60_000);

    test('finds a record in Redis while it lives, and no more once it is removed', async () => {
      const server = await RedisServer.start();
      const client = new Redis({ port: server.port, db: 0 });
      try {
        const records = new RedisServiceRecords(() => client);
        const [ours, other] = [record({ labels }), record({ labels })];
        await records.put(ours, NOW);
        await records.put(other, NOW);
        const found = await original.ask('discover_redis', { port: server.port });
        expect(found).toHaveLength(2);
        expect(found).toEqual(expect.arrayContaining([asRead(ours), asRead(other)]));
        const lifetimeSec = await client.ttl(`service_discovery.agent.${ours.id}`);
        expect(lifetimeSec > 0 && lifetimeSec <= 180).toBe(true);
        await records.remove(other);
        expect(await original.ask('discover_redis', { port: server.port })).toEqual([asRead(ours)]);
      } finally {
        client.disconnect();
        await server.stop();
      }
    }, 120_000);

    test('finds a record in etcd, and not those that nobody refreshed', async () => {
      const server = await EtcdServer.start();
      const store = new EtcdStore({ endpoints: [server.endpoint], logger: silentLogger });
      const port = Number(new URL(server.endpoint).port);
      try {
        const view = new AgentEtcdView({
          store,
          namespace: 'local',
          agentId: 'i-one',
          scalingGroup: () => 'default',
        });
        const records = new EtcdServiceRecords(view);
        const [ours, stale] = [record({ labels }), record({ labels })];
        await records.put(stale, NOW - 301_000);
        await records.put(ours, NOW);
        expect(await original.ask('discover_etcd', { port, namespace: 'local' })).toHaveLength(2);
        expect(await records.sweep(ours, NOW - 1000)).toEqual([]);
        expect(await records.sweep(ours, NOW)).toEqual([stale.id]);
        expect(await original.ask('discover_etcd', { port, namespace: 'local' })).toEqual([asRead(ours)]);
        await records.remove(ours);
        expect(await original.ask('discover_etcd', { port, namespace: 'local' })).toEqual([]);
      } finally {
        await store.close();
        await server.stop();
      }
    }, 120_000);
  });
});

describeRequiring(ORIGINAL_PYTHON_26, 'presence of kernels, as a 26.9 manager has it', (interpreter) => {
  let server: RedisServer;
  let client: Redis;
  let presence: RedisKernelPresence;
  let original: Original;
  const kernels = [randomUUID(), randomUUID()] as const;
  const ask = (what: string, more: object = {}) =>
    original.ask('presence', { port: server.port, do: what, kernel_ids: kernels, ...more });

  beforeEach(async () => {
    server = await RedisServer.start();
    client = new Redis({ port: server.port, db: 2, enableOfflineQueue: false, retryStrategy: () => null });
    client.on('error', () => undefined);
    await once(client, 'ready');
    presence = new RedisKernelPresence(() => client);
  }, 60_000);
  afterEach(async () => {
    client.disconnect();
    await server.stop();
  }, 60_000);
  beforeAll(() => {
    original = new Original(interpreter);
  });
  afterAll(async () => {
    await original.end();
  }, 60_000);

  test('a kernel that runs is healthy for the manager, one that was never reported is not', async () => {
    await ask('initialize');
    await presence.report([kernels[0]]);
    expect(await ask('look')).toMatchObject({
      [kernels[0]]: { presence: 'healthy' },
      [kernels[1]]: { presence: 'unhealthy' },
    });
    const lifetimeSec = await client.ttl(`kernel:presence:${kernels[0]}`);
    expect(lifetimeSec > 0 && lifetimeSec <= 300).toBe(true);
  }, 120_000);

  test('the manager’s look at agent and kernels is read back', async () => {
    expect(await presence.agentLastCheckSec('i-one')).toBeNull();
    expect(await presence.lastChecksSec(kernels)).toEqual(new Map());
    await ask('initialize');
    await ask('check', { agent_id: 'i-one' });
    const agentSec = await presence.agentLastCheckSec('i-one');
    expect(agentSec).toBeGreaterThan(1_700_000_000);
    expect(await presence.lastChecksSec(kernels)).toEqual(new Map(kernels.map((id) => [id, agentSec])));
  }, 120_000);

  test('a look at a kernel that has never reported itself tells nothing', async () => {
    await ask('check', { agent_id: 'i-one' });
    expect(await presence.lastChecksSec(kernels)).toEqual(new Map());
  }, 120_000);

  test('what is no time is no time', async () => {
    await client.set('agent:last_check:i-one', 'yesterday');
    await client.hset(`kernel:presence:${kernels[0]}`, 'presence', '1', 'last_check', '');
    expect(await presence.agentLastCheckSec('i-one')).toBeNull();
    expect(await presence.lastChecksSec(kernels)).toEqual(new Map());
  });

  test('a Redis that is away is an error, not an answer', async () => {
    const closed = once(client, 'end');
    await server.kill();
    await closed;
    await expect(presence.agentLastCheckSec('i-one')).rejects.toThrow();
    await expect(presence.lastChecksSec(kernels)).rejects.toThrow();
    await expect(presence.report(kernels)).rejects.toThrow();
  });
});

describe.each([
  { line: '25.17', python: ORIGINAL_PYTHON, dialect: '25.17' },
  { line: '26.9', python: ORIGINAL_PYTHON_26, dialect: '26.8' },
] as const)('volume requests of $line', ({ python, dialect }) => {
  describeRequiring(python, 'published by the original’s producer', (interpreter) => {
    const quotaScopeId = `user:${randomUUID()}`;
    let server: RedisServer;
    let original: Original;
    let root: string;
    beforeAll(async () => {
      server = await RedisServer.start();
      original = new Original(interpreter);
      root = await mkdtemp(join(tmpdir(), 'splenium-surroundings-'));
    }, 60_000);
    afterAll(async () => {
      await original.end();
      await server.stop();
      await rm(root, { recursive: true });
    }, 60_000);

    async function answered(
      mounts: (() => Promise<VolumeMounts>) | null,
      name: string,
      fields: object,
    ): Promise<readonly unknown[]> {
      const events = new RecordedEvents();
      const codec = createCodec({ dialect });
      const requests = new VolumeRequests({
        agentIds: [parseAgentId('i-one'), parseAgentId('i-two')],
        mounts,
        unmountTimeoutMs: () => Promise.resolve(10_000),
        parse: (message) => parseVolumeRequest(message, codec),
        events,
        clock: systemClock,
        metrics: noMetrics,
        logger: silentLogger,
      });
      const subscriber = new RedisSubscriber({
        client: new Redis({ port: server.port }),
        channel: 'events_all',
        listener: requests.hear,
        logger: silentLogger,
      });
      try {
        await eventually(() => {
          if (!subscriber.isSubscribed) throw new Error('not subscribed yet');
        });
        await original.ask('publish', {
          port: server.port,
          name,
          fields: { volume_backend_name: 'xfs', quota_scope_id: quotaScopeId, ...fields },
        });
        await eventually(() => {
          if (events.published.length < 2) throw new Error('not answered yet');
        });
        return events.published.map(({ source, event }) => ({ source, ...event }));
      } finally {
        await subscriber.close();
      }
    }

    const both = (answer: object) =>
      ['i-one', 'i-two'].map((source) => ({ source, quotaScopeId, ...answer }));

    test('are only acknowledged beside a storage proxy', async () => {
      expect(await answered(null, 'do_volume_mount', { dir_name: 'v', fs_location: 's:/v' })).toEqual(
        both({ name: 'volume_mounted', mountPath: '', errorMessage: null }),
      );
      expect(await answered(null, 'do_volume_unmount', { dir_name: 'v' })).toEqual(
        both({ name: 'volume_unmounted', mountPath: '', errorMessage: null }),
      );
    }, 120_000);

    test('that lead out of the root are refused in the answer', async () => {
      const mounts = () => Promise.resolve(new VolumeMounts({ root, owner: null }));
      const request = { dir_name: '../v', fs_location: 'tmpfs', fs_type: 'tmpfs' };
      expect(await answered(mounts, 'do_volume_mount', request)).toEqual(
        both({
          name: 'volume_mounted',
          mountPath: '../v',
          errorMessage: expect.stringContaining('no directory below'),
        }),
      );
    }, 120_000);

    test('to unmount what is not mounted are done', async () => {
      const mounts = () => Promise.resolve(new VolumeMounts({ root, owner: null }));
      expect(await answered(mounts, 'do_volume_unmount', { dir_name: 'v' })).toEqual(
        both({ name: 'volume_unmounted', mountPath: join(root, 'v'), errorMessage: null }),
      );
    }, 120_000);
  });
});
