import { silentLogger } from '../../src/core/logger.js';
import { EtcdStore } from '../../src/stores/etcd-store.js';
import type { KeyEvent } from '../../src/stores/key-value-store.js';
import { TestDaemon } from '../support/daemon.js';
import { EtcdServer } from '../support/etcd-server.js';
import { eventually } from '../support/eventually.js';
import { RedisServer } from '../support/redis-server.js';
import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../support/requirements.js';

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');
const PATIENT = { timeoutMs: 90_000 };
const STATUS = '/sorna/local/nodes/agents/i-one/';

(available ? describe : describe.skip)('an etcd of three members', () => {
  let members: readonly EtcdServer[];
  let store: EtcdStore;
  beforeEach(async () => {
    members = await EtcdServer.startCluster(3);
    store = new EtcdStore({
      endpoints: members.map(({ endpoint }) => endpoint),
      timeoutMs: 2000,
      logger: silentLogger,
    });
  }, 120_000);
  afterEach(async () => {
    await store.close();
    await Promise.all(members.map((member) => member.stop()));
  }, 60_000);

  const leader = () =>
    eventually(async () => {
      for (const member of members) if (await member.isLeader().catch(() => false)) return member;
      throw new Error('there is no leader yet');
    }, PATIENT);
  /** In the end: a call that was under way with the one that is gone may fail. */
  const put = (key: string, value: string) =>
    eventually(() => store.write([{ type: 'put', key, value }]), PATIENT);

  test('loses its leader: calls and watches go on with the others, also when another one goes in its place', async () => {
    const events: KeyEvent[] = [];
    const watch = await store.watch('/w/', (event) => events.push(event));
    await put('/w/a', '0');
    let round = 0;
    for (let times = 0; times < 2; times += 1) {
      const lost = await leader();
      await lost.kill();
      round += 1;
      await put('/w/a', String(round));
      expect(await eventually(() => store.get('/w/a'), PATIENT)).toBe(String(round));
      await eventually(() => {
        expect(events.at(-1)).toEqual({ type: 'put', key: '/w/a', value: String(round) });
      }, PATIENT);
      await lost.resume();
    }
    // In order and nothing but what was written; what was written twice, as its answer was lost, may be told twice.
    const told = events.map((event) => ('value' in event ? event.value : event.type));
    expect([...new Set(told)]).toEqual(['0', '1', '2']);
    expect(told).toEqual([...told].sort());
    await watch.close();
  }, 240_000);

  test('of whom most are gone answers nothing, and is well again when one returns', async () => {
    const events: KeyEvent[] = [];
    await store.watch('/w/', (event) => events.push(event));
    await put('/w/a', '1');
    const [first, second] = members;
    await Promise.all([first?.kill(), second?.kill()]);
    await expect(store.write([{ type: 'put', key: '/w/b', value: '1' }])).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
    });
    await first?.resume();
    await put('/w/c', '1');
    await eventually(() => {
      expect(events.map(({ key }) => key)).toEqual(expect.arrayContaining(['/w/a', '/w/c']));
    }, PATIENT);
  }, 240_000);

  test('loses its leader under a daemon: calls are answered and the registration is looked after', async () => {
    const redis = await RedisServer.start();
    let daemon: TestDaemon | undefined;
    try {
      await put('/sorna/local/config/redis/addr', `127.0.0.1:${String(redis.port)}`);
      await put('/sorna/local/nodes/manager/i-manager', 'up');
      const addresses = members.map(({ port }) => `"127.0.0.1:${String(port)}"`).join(', ');
      daemon = await TestDaemon.start({
        agentIds: ['i-one'],
        spleniumKeys: ['store-check-interval-sec = 1'],
        toml: `[etcd]\nnamespace = "local"\naddr = [${addresses}]\n`,
      });
      const client = daemon.client('i-one');
      expect(await store.get(STATUS)).toBe('running');
      const lost = await leader();
      await lost.kill();
      const kernel = await client.createKernel({
        image: 'local/test/shell:1',
        labels: { 'ai.backend.runtime-type': 'shell', 'ai.backend.runtime-path': '/bin/sh' },
        resourceSlots: { cpu: '1', mem: '67108864' },
      });
      await client.destroyKernel(kernel);
      // The others have it as it was, and what is lost there is written again.
      expect(await eventually(() => store.get(STATUS), PATIENT)).toBe('running');
      await eventually(() => store.write([{ type: 'delete', key: STATUS }]), PATIENT);
      await eventually(async () => {
        expect(await store.get(STATUS)).toBe('running');
      }, PATIENT);
      await client.close();
      expect(await daemon.stop()).toBe(0);
    } finally {
      await daemon?.dispose();
      await redis.stop();
    }
  }, 240_000);
});
