import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { Redis } from 'ioredis';
import type { AgentClient } from '../../src/client/agent-client.js';
import { DisposalStack } from '../../src/core/disposal.js';
import { silentLogger } from '../../src/core/logger.js';
import { EtcdStore } from '../../src/stores/etcd-store.js';
import { TestDaemon } from '../support/daemon.js';
import { EtcdServer } from '../support/etcd-server.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/free-port.js';
import { RedisSentinels } from '../support/redis-sentinels.js';
import { RedisServer } from '../support/redis-server.js';
import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../support/requirements.js';
import { SlowProxy } from '../support/slow-proxy.js';
import { StreamReader } from '../support/stream-reader.js';

const PATIENT = { timeoutMs: 60_000, intervalMs: 50 };
const LIFE = ['kernel_preparing', 'kernel_creating', 'kernel_started', 'kernel_terminated'];
const SPEC = {
  image: 'local/python:3',
  labels: { 'ai.backend.runtime-type': 'python', 'ai.backend.runtime-path': '/usr/bin/python3' },
  resourceSlots: { cpu: '1', mem: '67108864' },
};
/** What the daemon may have more than before the faults: a few sockets on their way, and what V8 has not collected. */
const MORE_DESCRIPTORS = 16;
const MORE_MEMORY_BYTES = 96 * 1024 * 1024;
const ETCD_QUOTA_BYTES = 1024 * 1024;

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');

/** As a manager does: a kernel that comes, works and goes. Its id. */
async function liveKernel(client: AgentClient): Promise<string> {
  const kernel = await client.createKernel({ ...SPEC, kernelId: randomUUID(), sessionId: randomUUID() });
  expect(await client.ping('here')).toBe('here');
  await client.destroyKernel(kernel);
  return kernel.kernelId;
}

const uses = async (pid: number) => ({
  descriptors: (await readdir(`/proc/${String(pid)}/fd`)).length,
  bytes: Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${String(pid)}/status`, 'utf8'))?.[1]) * 1024,
});

(available ? describe : describe.skip)('a daemon whose stores fail', () => {
  let etcd: EtcdServer;
  let redis: RedisServer;
  let etcdProxy: SlowProxy;
  let redisProxy: SlowProxy;
  let store: EtcdStore;
  let reader: StreamReader;
  let statistics: Redis;
  let daemon: TestDaemon;
  let client: AgentClient;
  let httpUrl: string;
  const opened = new DisposalStack();
  let usedBefore: Awaited<ReturnType<typeof uses>>;

  beforeAll(async () => {
    etcd = await EtcdServer.start({ quotaBytes: ETCD_QUOTA_BYTES });
    opened.defer('etcd', () => etcd.stop());
    redis = await RedisServer.start({ arguments: ['--maxmemory-policy', 'noeviction'] });
    opened.defer('redis', () => redis.stop());
    etcdProxy = await SlowProxy.start(etcd.port);
    opened.defer('proxy of etcd', () => etcdProxy.stop());
    redisProxy = await SlowProxy.start(redis.port);
    opened.defer('proxy of redis', () => redisProxy.stop());
    store = new EtcdStore({ endpoints: [etcd.endpoint], logger: silentLogger });
    opened.defer('store', () => store.close());
    await store.write([
      { type: 'put', key: '/sorna/local/config/redis/addr', value: `127.0.0.1:${String(redisProxy.port)}` },
      { type: 'put', key: '/sorna/local/nodes/manager/i-manager', value: 'up' },
    ]);
    reader = new StreamReader({ port: redis.port });
    statistics = new Redis({ port: redis.port });
    statistics.on('error', () => undefined);
    opened.defer('readers', () => {
      reader.close();
      statistics.disconnect();
    });
    const httpPort = await freePort();
    httpUrl = `http://127.0.0.1:${String(httpPort)}`;
    daemon = await TestDaemon.start({
      agentIds: ['i-one'],
      spleniumKeys: [`http-addr = "127.0.0.1:${String(httpPort)}"`, 'store-check-interval-sec = 1'],
      toml: `[etcd]\nnamespace = "local"\naddr = "127.0.0.1:${String(etcdProxy.port)}"\n[debug]\nheartbeat-interval = 1`,
    });
    opened.defer('daemon', () => daemon.dispose());
    client = daemon.client('i-one');
    opened.defer('client', () => client.close());
    await liveKernel(client);
    await eventually(isWell, PATIENT);
    usedBefore = await uses(daemon.pid);
  }, 150_000);
  afterAll(async () => {
    await opened.close();
  }, 90_000);

  const isWell = async () => {
    const answer = await fetch(`${httpUrl}/readyz`);
    if (answer.status !== 200) throw new Error(await answer.text());
  };
  /** Resolves when the daemon's health names this part as failing. */
  const isIll = (component: string) =>
    eventually(async () => {
      const answer = await fetch(`${httpUrl}/readyz`);
      expect(answer.status).toBe(503);
      const { connectivity } = (await answer.json()) as {
        readonly connectivity: {
          readonly connectivity_checks: readonly { component_id: string; is_healthy: boolean }[];
        };
      };
      const ill = connectivity.connectivity_checks.filter(({ is_healthy }) => !is_healthy);
      expect(ill.map(({ component_id }) => component_id)).toContain(component);
    }, PATIENT);

  const setMaxMemory = async (bytes: string) => {
    await statistics.config('SET', 'maxmemory', bytes);
  };
  const fillEtcd = async () => {
    // Each revision takes a place of its own until it is compacted.
    const value = 'x'.repeat(100_000);
    const fill = async () => {
      for (let round = 0; round < 100; round += 1) await etcd.ctl('put', '/filler', value);
    };
    await expect(fill()).rejects.toThrow(/space exceeded/);
    // What the node had written is gone, and does not fit any more.
    await etcd.ctl('del', '/sorna/local/nodes/agents/i-one/');
  };
  const emptyEtcd = async () => {
    await etcd.ctl('del', '/filler');
    const status = JSON.parse(await etcd.ctl('endpoint', 'status', '--write-out=json')) as readonly [
      { readonly Status: { readonly header: { readonly revision: number } } },
    ];
    await etcd.ctl('compact', String(status[0].Status.header.revision));
    await etcd.ctl('defrag');
    await etcd.ctl('alarm', 'disarm');
  };

  const FAULTS: readonly (readonly [
    string,
    {
      readonly component: string;
      readonly inject: () => Promise<void> | void;
      readonly heal: () => Promise<void> | void;
    },
  ])[] = [
    ['redis is killed', { component: 'stream', inject: () => redis.kill(), heal: () => redis.resume() }],
    [
      'redis is frozen',
      {
        component: 'stream',
        inject: () => {
          redis.freeze();
        },
        heal: () => {
          redis.thaw();
        },
      },
    ],
    [
      'redis answers after three seconds',
      {
        component: 'stat',
        inject: () => {
          redisProxy.delayMs = 1500;
        },
        heal: () => {
          redisProxy.delayMs = 0;
        },
      },
    ],
    [
      'redis is full',
      {
        component: 'stream',
        inject: () => setMaxMemory('1'),
        heal: () => setMaxMemory('0'),
      },
    ],
    ['etcd is killed', { component: 'etcd', inject: () => etcd.kill(), heal: () => etcd.resume() }],
    [
      'etcd comes back empty',
      {
        component: 'etcd',
        inject: async () => {
          await etcd.kill();
          await etcd.wipe();
        },
        heal: () => etcd.resume(),
      },
    ],
    [
      'etcd is frozen',
      {
        component: 'etcd',
        inject: () => {
          etcd.freeze();
        },
        heal: () => {
          etcd.thaw();
        },
      },
    ],
    [
      'etcd answers after twelve seconds',
      {
        component: 'etcd',
        inject: () => {
          etcdProxy.delayMs = 6000;
        },
        heal: () => {
          etcdProxy.delayMs = 0;
        },
      },
    ],
    ['etcd is full', { component: 'etcd', inject: fillEtcd, heal: emptyEtcd }],
  ];

  test.each(FAULTS)(
    '%s: calls are answered, and afterwards everything is told and written, once and in order',
    async (_title, { component, inject, heal }) => {
      await inject();
      const during = await liveKernel(client);
      await isIll(component);
      const late = await liveKernel(client);
      await heal();

      await eventually(isWell, PATIENT);
      await reader.whenHeartbeatAfter('kernel_terminated', late);
      for (const kernelId of [during, late]) expect(reader.lifeOf(kernelId)).toEqual(LIFE);
      await eventually(async () => {
        expect(await store.get('/sorna/local/nodes/agents/i-one/')).toBe('running');
        expect(await store.get('/sorna/local/nodes/agents/i-one/ip')).toBe('127.0.0.1');
        // A Redis that was killed comes back empty.
        expect(await statistics.hlen('computer.metadata')).toBeGreaterThan(0);
        expect(await statistics.exists('i-one')).toBe(1);
      }, PATIENT);
    },
    120_000,
  );

  test('its memory and its descriptors are what they were', async () => {
    await eventually(async () => {
      const { descriptors, bytes } = await uses(daemon.pid);
      expect(descriptors).toBeLessThanOrEqual(usedBefore.descriptors + MORE_DESCRIPTORS);
      expect(bytes).toBeLessThanOrEqual(usedBefore.bytes + MORE_MEMORY_BYTES);
    }, PATIENT);
  }, 90_000);
});

(available ? describe : describe.skip)('a daemon behind sentinels', () => {
  test('goes on with the new master after a failover, with nothing lost of what came after', async () => {
    const opened = new DisposalStack();
    try {
      await failOver(opened);
    } finally {
      await opened.close();
    }
  }, 150_000);

  async function failOver(opened: DisposalStack): Promise<void> {
    const etcd = await EtcdServer.start();
    opened.defer('etcd', () => etcd.stop());
    const sentinels = await RedisSentinels.start();
    opened.defer('sentinels', () => sentinels.stop());
    const store = new EtcdStore({ endpoints: [etcd.endpoint], logger: silentLogger });
    opened.defer('store', () => store.close());
    const config = {
      sentinel: sentinels.ports.map((port) => `127.0.0.1:${String(port)}`).join(','),
      service_name: sentinels.serviceName,
      password: sentinels.password,
      sentinel_password: sentinels.sentinelPassword,
    };
    await store.write([
      ...Object.entries(config).map(([name, value]) => ({
        type: 'put' as const,
        key: `/sorna/local/config/redis/${name}`,
        value,
      })),
      { type: 'put', key: '/sorna/local/nodes/manager/i-manager', value: 'up' },
    ]);
    const daemon = await TestDaemon.start({
      agentIds: ['i-one'],
      toml: `[etcd]\nnamespace = "local"\naddr = "127.0.0.1:${String(etcd.port)}"\n[debug]\nheartbeat-interval = 1`,
    });
    opened.defer('daemon', () => daemon.dispose());
    const client = daemon.client('i-one');
    opened.defer('client', () => client.close());
    const [, replica] = sentinels.servers;
    const reader = new StreamReader({ port: replica?.port ?? 0, password: sentinels.password });
    opened.defer('reader', () => {
      reader.close();
    });
    await reader.whenHeartbeatAfter('agent_started');
    const failedOver = sentinels.failOver();
    const during = await liveKernel(client);
    await failedOver;
    const after = await liveKernel(client);
    await reader.whenHeartbeatAfter('kernel_terminated', after);
    expect(reader.lifeOf(after)).toEqual(LIFE);
    // What the old master took in its last moment may not have reached the new one: no event comes twice or late.
    const seen = reader.lifeOf(during);
    expect(LIFE.filter((name) => seen.includes(name))).toEqual(seen);
  }
});
