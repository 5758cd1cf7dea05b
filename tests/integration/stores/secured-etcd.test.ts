import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/core/logger.js';
import { EtcdStore } from '../../../src/stores/etcd-store.js';
import type { KeyEvent } from '../../../src/stores/key-value-store.js';
import { readTlsFiles } from '../../../src/stores/tls-files.js';
import { makeCertificates } from '../../support/certificates.js';
import { EtcdServer, type EtcdTlsFiles } from '../../support/etcd-server.js';
import { eventually } from '../../support/eventually.js';
import { freePort } from '../../support/free-port.js';
import { ETCD_SERVER, pathOf, requirement } from '../../support/requirements.js';

const withEtcd = requirement('etcd (Debian: etcd-server, etcd-client)', pathOf(ETCD_SERVER) !== '')
  ? describe
  : describe.skip;

let stores: EtcdStore[] = [];
const open = (options: Omit<ConstructorParameters<typeof EtcdStore>[0], 'logger'>): EtcdStore => {
  const store = new EtcdStore({ timeoutMs: 3000, ...options, logger: silentLogger });
  stores.push(store);
  return store;
};
afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()));
  stores = [];
});

withEtcd('etcd over TLS', () => {
  let directory: string;
  let files: EtcdTlsFiles;
  let server: EtcdServer;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'splenium-tls-'));
    files = await makeCertificates(directory);
    server = await EtcdServer.start({ tls: files });
  }, 90_000);
  afterAll(async () => {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  });
  const client = () => ({ certFile: files.clientCert, keyFile: files.clientKey });

  test('serves whoever has a certificate of its authority', async () => {
    const tls = await readTlsFiles({ caFile: files.ca, client: client() });
    const store = open({ endpoints: [server.endpoint], tls });
    await store.write([{ type: 'put', key: '/k', value: 'v' }]);
    expect(await store.get('/k')).toBe('v');
  });

  test('turns away who has none, and is turned away itself by who does not know its authority', async () => {
    const nobody = open({
      endpoints: [server.endpoint],
      tls: await readTlsFiles({ caFile: files.ca, client: null }),
    });
    await expect(nobody.get('/k')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    const others = await mkdtemp(join(directory, 'others-'));
    const stranger = await makeCertificates(others);
    const deceived = open({
      endpoints: [server.endpoint],
      tls: await readTlsFiles({ caFile: stranger.ca, client: client() }),
    });
    await expect(deceived.get('/k')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  }, 60_000);

  test('a secret key that others can read is refused by name, and so is a file that holds none', async () => {
    const keyFile = join(directory, 'open-key.pem');
    await writeFile(keyFile, '-----BEGIN PRIVATE KEY-----\n');
    await chmod(keyFile, 0o640);
    const read = () => readTlsFiles({ caFile: files.ca, client: { ...client(), keyFile } });
    await expect(read()).rejects.toThrow(`${keyFile} holds a secret key and others have access (mode 0640)`);
    await expect(read()).rejects.toMatchObject({ code: 'STORE_KEY_FILE' });
    await writeFile(keyFile, 'nothing');
    await chmod(keyFile, 0o600);
    await expect(read()).rejects.toThrow('holds no PEM block with a private key');
    await rm(keyFile);
    await expect(read()).rejects.toThrow(`cannot read ${keyFile}`);
  });
});

withEtcd('etcd with user and password', () => {
  let server: EtcdServer;
  const credentials = { user: 'root', password: 'secret' };
  beforeEach(async () => {
    server = await EtcdServer.start();
    await server.ctl('user', 'add', 'root:secret');
    await server.ctl('user', 'grant-role', 'root', 'root');
    await server.ctl('auth', 'enable');
  }, 90_000);
  afterEach(() => server.stop());

  test('lets in who knows them, and nobody else', async () => {
    const store = open({ endpoints: [server.endpoint], credentials });
    await store.write([{ type: 'put', key: '/k', value: 'v' }]);
    expect(await store.get('/k')).toBe('v');
    for (const other of [null, { user: 'root', password: 'wrong' }])
      await expect(open({ endpoints: [server.endpoint], credentials: other }).get('/k')).rejects.toThrow(
        /user name is empty|authentication failed/,
      );
  }, 60_000);

  test('calls and watches go on after a restart has made the login void', async () => {
    const store = open({ endpoints: [server.endpoint], credentials });
    const events: KeyEvent[] = [];
    await store.watch('/w/', (event) => events.push(event));
    await store.write([{ type: 'put', key: '/w/a', value: '1' }]);
    await server.kill();
    await server.resume();
    await eventually(() => store.write([{ type: 'put', key: '/w/b', value: '2' }]), { timeoutMs: 60_000 });
    await eventually(
      () => {
        expect(events.map(({ key }) => key)).toEqual(['/w/a', '/w/b']);
      },
      { timeoutMs: 60_000 },
    );
  }, 150_000);
});

withEtcd('etcd at several addresses', () => {
  test('one that is dead costs nothing', async () => {
    const server = await EtcdServer.start();
    try {
      const dead = `http://127.0.0.1:${String(await freePort())}`;
      const store = open({ endpoints: [dead, server.endpoint] });
      await store.write([{ type: 'put', key: '/k', value: 'v' }]);
      for (let round = 0; round < 20; round += 1) expect(await store.get('/k')).toBe('v');
    } finally {
      await server.stop();
    }
  }, 90_000);
});
