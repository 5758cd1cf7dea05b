import { Redis } from 'ioredis';
import type { AgentClient } from '../../src/client/agent-client.js';
import { DisposalStack } from '../../src/core/disposal.js';
import { silentLogger } from '../../src/core/logger.js';
import { EtcdStore } from '../../src/stores/etcd-store.js';
import { TestDaemon } from '../support/daemon.js';
import { EtcdServer } from '../support/etcd-server.js';
import { RedisSentinels } from '../support/redis-sentinels.js';
import type { RedisServer } from '../support/redis-server.js';
import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../support/requirements.js';
import { StreamReader } from '../support/stream-reader.js';
import { LIFE, liveKernel } from './live-kernel.js';

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');

(available ? describe : describe.skip)('a daemon behind sentinels', () => {
  const opened = new DisposalStack();
  let sentinels: RedisSentinels;
  let daemon: TestDaemon;
  let client: AgentClient;

  beforeAll(async () => {
    const etcd = await EtcdServer.start();
    opened.defer('etcd', () => etcd.stop());
    sentinels = await RedisSentinels.start(3, { failoverTimeoutMs: 4000 });
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
    daemon = await TestDaemon.start({
      agentIds: ['i-one'],
      toml: `[etcd]\nnamespace = "local"\naddr = "127.0.0.1:${String(etcd.port)}"\n[debug]\nheartbeat-interval = 1`,
    });
    opened.defer('daemon', () => daemon.dispose());
    client = daemon.client('i-one');
    opened.defer('client', () => client.close());
  }, 150_000);
  afterAll(() => opened.close(), 90_000);

  const whileReading = async (use: (reader: StreamReader) => Promise<void>) => {
    const { port } = await sentinels.master();
    const reader = new StreamReader({ port, password: sentinels.password });
    await use(reader).finally(() => {
      reader.close();
    });
  };
  const setMaxMemory = async (server: RedisServer, bytes: string) => {
    const admin = new Redis({ port: server.port, password: sentinels.password });
    await admin.config('SET', 'maxmemory', bytes);
    admin.disconnect();
  };
  /** Resolves when all is as it was, perhaps with another master. Is given the kernel that has lived meanwhile. */
  type Heal = (kernelId: string) => Promise<void>;

  const FAULTS: readonly (readonly [string, (master: RedisServer) => Promise<Heal> | Heal])[] = [
    [
      'the master is full',
      async (master) => {
        await setMaxMemory(master, '1');
        return () => setMaxMemory(master, '0');
      },
    ],
    [
      'the master is killed',
      async (master) => {
        await master.kill();
        return async () => {
          await sentinels.whenMasterIsNot(master);
          await master.resume();
          await sentinels.whenReplica(master);
        };
      },
    ],
    [
      'the master is frozen',
      (master) => {
        master.freeze();
        return async (kernelId) => {
          await sentinels.whenMasterIsNot(master);
          // What the old master takes before it knows of the new one is lost with it: no agent can tell.
          await whileReading((reader) => reader.whenHeartbeatAfter('kernel_terminated', kernelId));
          master.thaw();
          await sentinels.whenReplica(master);
        };
      },
    ],
    // Last: sentinels that were stopped trust nobody for half a minute.
    [
      'the sentinels are away when the daemon starts',
      async () => {
        await daemon.kill();
        sentinels.freeze();
        await daemon.resume();
        return () => {
          sentinels.thaw();
          return Promise.resolve();
        };
      },
    ],
  ];

  test('goes on with the new master after a failover, with nothing lost of what came after', async () => {
    const failedOver = sentinels.failOver();
    const [during] = await Promise.all([liveKernel(client), failedOver]);
    const after = await liveKernel(client);
    await whileReading(async (reader) => {
      await reader.whenHeartbeatAfter('kernel_terminated', after);
      expect(reader.lifeOf(after)).toEqual(LIFE);
      // What the old master took in its last moment may not have reached the new one: no event comes twice or late.
      const seen = reader.lifeOf(during);
      expect(LIFE.filter((name) => seen.includes(name))).toEqual(seen);
    });
  }, 150_000);

  test.each(FAULTS)(
    '%s: calls are answered, and afterwards everything is told, once and in order',
    async (_title, inject) => {
      const heal = await inject(await sentinels.master());
      const during = await liveKernel(client);
      await heal(during);
      const after = await liveKernel(client);
      await whileReading(async (reader) => {
        await reader.whenHeartbeatAfter('kernel_terminated', after);
        for (const kernelId of [during, after]) expect(reader.lifeOf(kernelId)).toEqual(LIFE);
      });
    },
    150_000,
  );
});
