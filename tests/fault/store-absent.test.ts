import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { DisposalStack } from '../../src/core/disposal.js';
import { silentLogger } from '../../src/core/logger.js';
import { EtcdStore } from '../../src/stores/etcd-store.js';
import { TestDaemon } from '../support/daemon.js';
import { EtcdServer } from '../support/etcd-server.js';
import { eventually } from '../support/eventually.js';
import { RedisServer } from '../support/redis-server.js';
import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../support/requirements.js';
import { StreamReader } from '../support/stream-reader.js';
import { LIFE, liveKernel, PYTHON_KERNEL } from './live-kernel.js';

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');
const PATIENT = { timeoutMs: 60_000, intervalMs: 50 };

interface Absence {
  readonly leave: () => Promise<void>;
  readonly come: () => Promise<void>;
  /** Does the daemon serve all the same? If not, it waits and says so. */
  readonly serves: boolean;
}

(available ? describe : describe.skip)('a daemon that comes back while a store is away', () => {
  const opened = new DisposalStack();
  let etcd: EtcdServer;
  let redis: RedisServer;
  let reader: StreamReader;
  let store: EtcdStore;
  let daemon: TestDaemon;

  beforeAll(async () => {
    etcd = await EtcdServer.start();
    opened.defer('etcd', () => etcd.stop());
    redis = await RedisServer.start();
    opened.defer('redis', () => redis.stop());
    store = new EtcdStore({ endpoints: [etcd.endpoint], timeoutMs: 2000, logger: silentLogger });
    opened.defer('store', () => store.close());
    await store.write([
      { type: 'put', key: '/sorna/local/config/redis/addr', value: `127.0.0.1:${String(redis.port)}` },
      { type: 'put', key: '/sorna/local/nodes/manager/i-manager', value: 'up' },
    ]);
    reader = new StreamReader({ port: redis.port });
    opened.defer('reader', () => {
      reader.close();
    });
    daemon = await TestDaemon.start({
      agentIds: ['i-one'],
      toml: `[etcd]\nnamespace = "local"\naddr = "127.0.0.1:${String(etcd.port)}"\n[debug]\nheartbeat-interval = 1`,
    });
    opened.defer('daemon', () => daemon.dispose());
  }, 120_000);
  afterAll(() => opened.close(), 90_000);

  /** Ends the kernel behind the daemon's back. */
  const endProcesses = async (kernelId: string) => {
    const isOf = (pid: number): boolean => {
      try {
        return ['cmdline', 'environ'].some((file) =>
          readFileSync(`/proc/${String(pid)}/${file}`, 'utf8').includes(kernelId),
        );
      } catch {
        return false;
      }
    };
    const pids = (await daemon.kernelProcesses()).filter(isOf);
    expect(pids).not.toEqual([]);
    for (const pid of pids) process.kill(pid, 'SIGKILL');
  };
  const create = async () => {
    const client = daemon.client('i-one');
    const kernel = { kernelId: randomUUID(), sessionId: randomUUID() };
    await client.createKernel({ ...PYTHON_KERNEL, ...kernel });
    await client.close();
    return kernel;
  };

  const ABSENCES: readonly (readonly [string, () => Absence])[] = [
    ['redis', () => ({ leave: () => redis.kill(), come: () => redis.resume(), serves: true })],
    ['etcd', () => ({ leave: () => etcd.kill(), come: () => etcd.resume(), serves: false })],
  ];

  test.each(ABSENCES)(
    '%s: a kernel that ended meanwhile is told of once, one that runs is kept',
    async (_name, absence) => {
      const { leave, come, serves } = absence();
      const [kept, lost] = [await create(), await create()];
      for (const { kernelId } of [kept, lost]) await reader.whenHeartbeatAfter('kernel_started', kernelId);
      await daemon.kill();
      await leave();
      await endProcesses(lost.kernelId);
      const started = daemon.resume();
      if (!serves) {
        await eventually(() => {
          expect(daemon.log).toContain('waiting for a store');
        }, PATIENT);
        await come();
      }
      await started;
      const client = daemon.client('i-one');
      const during = await liveKernel(client);
      if (serves) await come();
      expect((await client.listKernels()).map(({ kernel_id }) => kernel_id)).toEqual([kept.kernelId]);
      await client.destroyKernel(kept);
      await client.close();
      for (const { kernelId } of [kept, lost]) {
        await reader.whenHeartbeatAfter('kernel_terminated', kernelId);
        expect(reader.lifeOf(kernelId)).toEqual(LIFE);
      }
      await reader.whenHeartbeatAfter('kernel_terminated', during);
      expect(reader.lifeOf(during)).toEqual(LIFE);
      await eventually(async () => {
        expect(await store.get('/sorna/local/nodes/agents/i-one/')).toBe('running');
      }, PATIENT);
    },
    150_000,
  );
});
