import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLogger } from '../../../src/core/logger.js';
import { EtcdStore } from '../../../src/stores/etcd-store.js';
import { TestDaemon } from '../../support/daemon.js';
import { EtcdServer } from '../../support/etcd-server.js';
import { eventually } from '../../support/eventually.js';
import { freePort } from '../../support/free-port.js';
import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';
import { RedisServer } from '../../support/redis-server.js';

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');
const PATIENT = { timeoutMs: 60_000, intervalMs: 50 };

(available ? describe : describe.skip)('a start without its stores', () => {
  let daemon: TestDaemon | undefined;
  afterEach(async () => {
    await daemon?.dispose();
    daemon = undefined;
  }, 60_000);

  const prepare = async (etcdPort: number, ...more: readonly string[]) => {
    const httpPort = await freePort();
    daemon = await TestDaemon.prepare({
      agentIds: ['i-one'],
      spleniumKeys: [`http-addr = "127.0.0.1:${String(httpPort)}"`, ...more],
      toml: `[etcd]\nnamespace = "local"\naddr = "127.0.0.1:${String(etcdPort)}"\n`,
    });
    return { made: daemon, httpUrl: `http://127.0.0.1:${String(httpPort)}` };
  };
  const startCheck = async (httpUrl: string) => {
    const answer = await fetch(`${httpUrl}/readyz`);
    const body = (await answer.json()) as {
      /** Absent from a healthy answer for 25.17. */
      readonly connectivity?: {
        readonly connectivity_checks: readonly { component_id: string; error_message: string | null }[];
      };
    };
    const found = body.connectivity?.connectivity_checks.find(({ component_id }) => component_id === 'start');
    return { status: answer.status, message: found?.error_message ?? null };
  };

  test('says over HTTP what it waits for: etcd, where Redis is, a manager; and then serves', async () => {
    const etcd = await EtcdServer.start();
    const redis = await RedisServer.start();
    const store = new EtcdStore({ endpoints: [etcd.endpoint], timeoutMs: 2000, logger: silentLogger });
    try {
      await etcd.kill();
      const { made, httpUrl } = await prepare(etcd.port);
      const started = made.resume();
      const says = (message: string) =>
        eventually(async () => {
          const check = await startCheck(httpUrl);
          expect(check.status).toBe(503);
          expect(check.message).toContain(message);
        }, PATIENT);
      await says('waiting for shared configuration in etcd: etcd at http://127.0.0.1');
      await etcd.resume();
      await says('has neither addr nor sentinel');
      const put = (key: string, value: string) =>
        eventually(() => store.write([{ type: 'put', key: `/sorna/local/${key}`, value }]), PATIENT);
      await put('config/redis/addr', `127.0.0.1:${String(redis.port)}`);
      await says('waiting for a manager to register in etcd');
      await put('nodes/manager/i-manager', 'up');
      await started;
      await eventually(async () => {
        expect(await startCheck(httpUrl)).toEqual({ status: 200, message: null });
      }, PATIENT);
      const reports = made.log.split('\n').filter((line) => line.includes('waiting for a store'));
      expect(reports.length).toBeLessThanOrEqual(6);
    } finally {
      await store.close();
      await Promise.all([etcd.stop(), redis.stop()]);
    }
  }, 150_000);

  test('waits for the directory of volumes that etcd names, in the scope of the node, and then serves', async () => {
    const etcd = await EtcdServer.start();
    const redis = await RedisServer.start();
    const store = new EtcdStore({ endpoints: [etcd.endpoint], logger: silentLogger });
    try {
      const { made, httpUrl } = await prepare(etcd.port);
      const file = join(made.directory, 'agent.toml');
      const missing = join(made.directory, 'vfroot');
      const values = {
        'config/redis/addr': `127.0.0.1:${String(redis.port)}`,
        'nodes/manager/i-manager': 'up',
        'volumes/_mount': made.directory,
        'volumes/_fsprefix': 'no/such/directory',
        'nodes/agents/i-one/volumes/_mount': file,
      };
      await store.write(
        Object.entries(values).map(([key, value]) => ({ type: 'put', key: `/sorna/local/${key}`, value })),
      );
      const started = made.resume();
      const says = (message: string) =>
        eventually(async () => {
          expect((await startCheck(httpUrl)).message).toContain(message);
        }, PATIENT);
      await says(
        `the directory of volumes: volumes/_mount of the store is ${file}, which is no directory of this machine`,
      );
      // The older name wins, as with the original.
      await store.write([{ type: 'put', key: '/sorna/local/volumes/mount', value: missing }]);
      await says(`volumes/mount of the store is ${missing}`);
      await mkdir(missing);
      await started;
      expect(await made.stop()).toBe(0);
    } finally {
      await store.close();
      await Promise.all([etcd.stop(), redis.stop()]);
    }
  }, 150_000);

  test('gives up at its deadline, by name and with a status that is not zero', async () => {
    const { made } = await prepare(await freePort(), 'store-start-deadline-sec = 2');
    await expect(made.resume()).rejects.toThrow(
      /the daemon ended with 1:[^]*STORE_UNAVAILABLE: shared configuration in etcd was not to be had within 2 s/,
    );
  }, 90_000);

  test('with a deadline waits for Redis as well; without one serves and keeps events', async () => {
    const redisPort = await freePort();
    const toml = `[redis]\naddr = "127.0.0.1:${String(redisPort)}"\n`;
    daemon = await TestDaemon.prepare({
      agentIds: ['i-one'],
      spleniumKeys: ['event-bus = "redis"', 'store-start-deadline-sec = 3'],
      toml,
    });
    await expect(daemon.resume()).rejects.toThrow(
      /STORE_UNAVAILABLE: redis was not to be had within 3 s[^]*ECONNREFUSED/,
    );
    await daemon.dispose();
    daemon = await TestDaemon.start({ agentIds: ['i-one'], spleniumKeys: ['event-bus = "redis"'], toml });
    const client = daemon.client('i-one');
    expect(await client.ping('served')).toBe('served');
    await client.close();
  }, 150_000);

  test('ends by name when a file for TLS is not there', async () => {
    const { made } = await prepare(await freePort(), 'etcd-tls.ca = "keys/agent.key"');
    await expect(made.resume()).rejects.toThrow(/STORE_KEY_FILE: .*holds no PEM block with a certificate/);
    await rm(made.directory, { recursive: true, force: true });
  }, 90_000);
});
