import { readdir, readFile } from 'node:fs/promises';
import { Redis } from 'ioredis';
import type { AgentClient } from '../../src/client/agent-client.js';
import { DisposalStack } from '../../src/core/disposal.js';
import { silentLogger } from '../../src/core/logger.js';
import { EtcdStore } from '../../src/stores/etcd-store.js';
import type { ManagerVersion } from '../../src/config/types.js';
import { TestDaemon, type TestDaemonOptions } from '../support/daemon.js';
import { EtcdServer } from '../support/etcd-server.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/free-port.js';
import { RedisServer } from '../support/redis-server.js';
import { SlowProxy } from '../support/slow-proxy.js';
import { LIFE, liveKernel, type LiveKernelSpec } from './live-kernel.js';
import { StreamReader } from '../support/stream-reader.js';

const PATIENT = { timeoutMs: 60_000, intervalMs: 50 };
/** What the daemon may have more than before the faults: a few sockets on their way, and what V8 has not collected. */
const MORE_DESCRIPTORS = 16;
const MORE_MEMORY_BYTES = 96 * 1024 * 1024;
const ETCD_QUOTA_BYTES = 1024 * 1024;

const uses = async (pid: number) => ({
  descriptors: (await readdir(`/proc/${String(pid)}/fd`)).length,
  bytes: Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${String(pid)}/status`, 'utf8'))?.[1]) * 1024,
});

export const FAULT_NAMES = [
  'redis is killed',
  'redis is frozen',
  'redis answers after three seconds',
  'redis is full',
  'etcd is killed',
  'etcd comes back empty',
  'etcd is frozen',
  'etcd answers after twelve seconds',
  'etcd is full',
] as const;
export type FaultName = (typeof FAULT_NAMES)[number];

interface Fault {
  /** Of the daemon's health: what names it. */
  readonly component: string;
  readonly inject: () => Promise<void> | void;
  readonly heal: () => Promise<void> | void;
}

/** A daemon whose stores fail, one fault after the other, while kernels come and go. */
export function describeStoreFaults(options: {
  readonly line: ManagerVersion;
  readonly daemon: () => TestDaemonOptions;
  readonly kernel: LiveKernelSpec;
  readonly faults: readonly FaultName[];
}): void {
  const { line } = options;
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
      ...options.daemon(),
      agentIds: ['i-one'],
      spleniumKeys: [
        `manager-version = "${line}"`,
        `http-addr = "127.0.0.1:${String(httpPort)}"`,
        'store-check-interval-sec = 1',
      ],
      toml: `[etcd]\nnamespace = "local"\naddr = "127.0.0.1:${String(etcdProxy.port)}"\n[debug]\nheartbeat-interval = 1\n[agent.utilization-metric.node]\ninterval = 5`,
    });
    opened.defer('daemon', () => daemon.dispose());
    client = daemon.client('i-one');
    opened.defer('client', () => client.close());
    await liveKernel(client, options.kernel);
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

  const faults: Readonly<Record<FaultName, Fault>> = {
    'redis is killed': { component: 'stream', inject: () => redis.kill(), heal: () => redis.resume() },
    'redis is frozen': {
      component: 'stream',
      inject: () => {
        redis.freeze();
      },
      heal: () => {
        redis.thaw();
      },
    },
    'redis answers after three seconds': {
      component: 'stat',
      inject: () => {
        redisProxy.delayMs = 1500;
      },
      heal: () => {
        redisProxy.delayMs = 0;
      },
    },
    'redis is full': {
      component: 'stream',
      inject: () => setMaxMemory('1'),
      heal: () => setMaxMemory('0'),
    },
    'etcd is killed': { component: 'etcd', inject: () => etcd.kill(), heal: () => etcd.resume() },
    'etcd comes back empty': {
      component: 'etcd',
      inject: async () => {
        await etcd.kill();
        await etcd.wipe();
      },
      heal: () => etcd.resume(),
    },
    'etcd is frozen': {
      component: 'etcd',
      inject: () => {
        etcd.freeze();
      },
      heal: () => {
        etcd.thaw();
      },
    },
    'etcd answers after twelve seconds': {
      component: 'etcd',
      inject: () => {
        etcdProxy.delayMs = 6000;
      },
      heal: () => {
        etcdProxy.delayMs = 0;
      },
    },
    'etcd is full': { component: 'etcd', inject: fillEtcd, heal: emptyEtcd },
  };

  test.each(options.faults)(
    '%s: calls are answered, and afterwards everything is told and written, once and in order',
    async (name) => {
      const { component, inject, heal } = faults[name];
      await inject();
      const during = await liveKernel(client, options.kernel);
      await isIll(component);
      const late = await liveKernel(client, options.kernel);
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
}
