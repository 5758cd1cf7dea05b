import { silentLogger } from '../../src/core/logger.js';
import { EtcdStore } from '../../src/stores/etcd-store.js';
import type { KeyEvent } from '../../src/stores/key-value-store.js';
import { EtcdServer } from '../support/etcd-server.js';
import { eventually } from '../support/eventually.js';
import { ETCD_SERVER, pathOf, requirement } from '../support/requirements.js';

const withEtcd = requirement('etcd (Debian: etcd-server)', pathOf(ETCD_SERVER) !== '')
  ? describe
  : describe.skip;

withEtcd('etcd away and back', () => {
  let server: EtcdServer;
  let store: EtcdStore;
  beforeEach(async () => {
    server = await EtcdServer.start();
    store = new EtcdStore({ endpoints: [server.endpoint], timeoutMs: 2000, logger: silentLogger });
  }, 90_000);
  afterEach(async () => {
    await store.close();
    await server.stop();
  });

  const put = (key: string, value: string) => store.write([{ type: 'put', key, value }]);

  test('an operation fails by name while it is away and works again afterwards', async () => {
    await put('/k', '1');
    await server.kill();
    await expect(store.get('/k')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', retryable: true });
    await server.resume();
    expect(await eventually(() => store.get('/k'), { timeoutMs: 60_000 })).toBe('1');
  }, 120_000);

  test.each([
    ['with its data', false],
    ['empty', true],
  ])(
    'a watch goes on when it comes back %s',
    async (_title, empty) => {
      await put('/w/a', '1');
      await put('/w/b', '1');
      const events: KeyEvent[] = [];
      await store.watch('/w/', (event) => {
        events.push(event);
      });
      await server.kill();
      if (empty) await server.wipe();
      await server.resume();
      await eventually(() => put('/w/b', '2'), { timeoutMs: 60_000 });
      await eventually(
        () => {
          expect(events).toContainEqual({ type: 'put', key: '/w/b', value: '2' });
        },
        { timeoutMs: 60_000 },
      );
      // Nothing is reported that the listener knew already; what vanished with the data is.
      const others = events.filter(({ key }) => key === '/w/a');
      expect(others).toEqual(empty ? [{ type: 'delete', key: '/w/a' }] : []);
    },
    150_000,
  );
});
