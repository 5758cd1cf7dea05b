import { Redis } from 'ioredis';
import { parseAgentId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import { noMetrics } from '../../../src/core/metrics.js';
import { openServiceDiscovery } from '../../../src/daemon/discovery.js';
import { AgentEtcdView } from '../../../src/stores/agent-etcd-view.js';
import { EtcdStore } from '../../../src/stores/etcd-store.js';
import { RedisConnections } from '../../../src/stores/redis-connections.js';
import { TestDaemon } from '../../support/daemon.js';
import { EtcdServer } from '../../support/etcd-server.js';
import { eventually } from '../../support/eventually.js';
import { freePort } from '../../support/free-port.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RecordedEvents } from '../../support/recorded-events.js';
import { RedisServer } from '../../support/redis-server.js';
import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';
import { load } from '../../unit/config/config-file.js';

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');
const WAIT = { timeoutMs: 60_000 };
const ROOT = '/sorna/local/ai/backend/service_discovery';
const [STARTED_SEC, MINUTE_MS] = [1_800_000_000, 60_000];

(available ? describe : describe.skip)('service discovery', () => {
  let etcd: EtcdServer;
  let redis: RedisServer;
  let store: EtcdStore;
  let reader: Redis;
  beforeAll(async () => {
    [etcd, redis] = await Promise.all([EtcdServer.start(), RedisServer.start()]);
    store = new EtcdStore({ endpoints: [etcd.endpoint], logger: silentLogger });
    reader = new Redis({ port: redis.port, db: 0 });
  }, 120_000);
  afterAll(async () => {
    reader.disconnect();
    await store.close();
    await Promise.all([etcd.stop(), redis.stop()]);
  }, 60_000);

  /** Whatever is announced, by id: fields as paths, as etcd has them. */
  const inEtcd = async (): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>> => {
    const found = new Map<string, Record<string, string>>();
    for (const [key, value] of await store.list(`${ROOT}/`)) {
      const [, id = '', ...path] = key.slice(ROOT.length + 1).split('/');
      found.set(id, { ...found.get(id), [path.join('/')]: value });
    }
    return found;
  };
  const inRedis = async (): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>> => {
    const found = new Map<string, Record<string, string>>();
    for (const key of await reader.keys('service_discovery.*')) {
      const record = await reader.hgetall(key);
      const health = JSON.parse(record['health_status'] ?? '{}') as Record<string, number>;
      found.set(key.replace('service_discovery.agent.', ''), {
        display_name: JSON.parse(record['display_name'] ?? '""') as string,
        'health_status/registration_time': String(health['registration_time']),
        'health_status/last_heartbeat': String(health['last_heartbeat']),
      });
    }
    return found;
  };

  describe.each([
    ['etcd', inEtcd],
    ['redis', inRedis],
  ] as const)('of type %s', (type, read) => {
    const only = async () => {
      const records = [...(await read()).values()];
      expect(records).toHaveLength(1);
      return records[0] ?? {};
    };

    test('a record is written at once, refreshed each minute and taken away at the end', async () => {
      const clock = new ManualClock(STARTED_SEC * 1000);
      const { config } = await load(`[etcd]
namespace = "local"
addr = "${etcd.endpoint.replace('http://', '')}"
[agent]
backend = "process"
rpc-listen-addr = "127.0.0.1:6001"
service-addr = "127.0.0.1:6003"
announce-addr = "node1.example.org:6003"
[service-discovery]
type = "${type}"
[splenium]
event-bus = "local"
`);
      const connections = new RedisConnections({
        targetOf: () => ({
          ...config.redis,
          addr: { host: '127.0.0.1', port: redis.port },
        }),
        logger: silentLogger,
        metrics: noMetrics,
        checkIntervalMs: MINUTE_MS,
      });
      const view = new AgentEtcdView({
        store,
        namespace: 'local',
        agentId: 'i-one',
        scalingGroup: () => 'default',
      });
      const discovery = openServiceDiscovery({
        config,
        agentId: parseAgentId('i-one'),
        view,
        redis: connections,
        events: new RecordedEvents(),
        clock,
        logger: silentLogger,
      });
      try {
        clock.advance(1000);
        await eventually(async () => {
          expect(await only()).toMatchObject({
            display_name: 'agent-i-one',
            'health_status/registration_time': String(STARTED_SEC),
            'health_status/last_heartbeat': String(STARTED_SEC + 1),
          });
        }, WAIT);
        for (const minute of [1, 2])
          await eventually(async () => {
            // A round that has just ended may not sleep yet.
            clock.advance(Math.max(0, (STARTED_SEC + 1 + minute * 60) * 1000 - clock.nowMs()));
            expect(await only()).toMatchObject({
              'health_status/registration_time': String(STARTED_SEC),
              'health_status/last_heartbeat': String(STARTED_SEC + 1 + minute * 60),
            });
          }, WAIT);
        await discovery.close();
        expect((await read()).size).toBe(0);
      } finally {
        await discovery.close();
        await connections.close();
      }
    }, 120_000);

    test('a daemon writes one for all its agents and takes it away at a clean stop', async () => {
      const port = await freePort();
      await store.write([
        { type: 'put', key: '/sorna/local/config/redis/addr', value: `127.0.0.1:${String(redis.port)}` },
        { type: 'put', key: '/sorna/local/nodes/manager/i-manager', value: 'up' },
      ]);
      const daemon = await TestDaemon.start({
        spleniumKeys: [`http-addr = "127.0.0.1:${String(port)}"`],
        toml: `[etcd]\nnamespace = "local"\naddr = "${etcd.endpoint.replace('http://', '')}"\n[service-discovery]\ntype = "${type}"\n`,
      });
      try {
        await eventually(async () => {
          expect(await only()).toMatchObject({ display_name: 'agent-i-one' });
        }, WAIT);
        expect((await (type === 'etcd' ? inRedis() : inEtcd())).size).toBe(0);
        expect(await daemon.stop()).toBe(0);
        expect((await read()).size).toBe(0);
      } finally {
        await daemon.dispose();
      }
    }, 150_000);
  });

  test('what nobody has refreshed for five minutes is swept from etcd, also by a daemon', async () => {
    const [gone, fresh, strange] = ['gone', 'fresh', 'strange'].map((id) => `${ROOT}/storage-proxy/${id}`);
    const nowSec = Date.now() / 1000;
    await store.write([
      { type: 'put', key: `${gone ?? ''}/health_status/last_heartbeat`, value: String(nowSec - 400) },
      { type: 'put', key: `${fresh ?? ''}/health_status/last_heartbeat`, value: String(nowSec) },
      { type: 'put', key: `${strange ?? ''}/id`, value: 'no record of ours to judge' },
    ]);
    const daemon = await TestDaemon.start({
      agentIds: ['i-one'],
      spleniumKeys: [`http-addr = "127.0.0.1:${String(await freePort())}"`],
      toml: `[etcd]\nnamespace = "local"\naddr = "${etcd.endpoint.replace('http://', '')}"\n[service-discovery]\ntype = "etcd"\n`,
    });
    try {
      await eventually(async () => {
        expect([...(await inEtcd()).keys()]).toEqual(expect.not.arrayContaining(['gone']));
      }, WAIT);
      expect([...(await inEtcd()).keys()]).toEqual(expect.arrayContaining(['fresh', 'strange']));
    } finally {
      await daemon.dispose();
    }
  }, 150_000);
});
