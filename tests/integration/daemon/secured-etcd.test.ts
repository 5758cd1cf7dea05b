import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeCertificates } from '../../support/certificates.js';
import { TestDaemon } from '../../support/daemon.js';
import { EtcdServer } from '../../support/etcd-server.js';
import { freePort } from '../../support/free-port.js';
import { ETCD_SERVER, pathOf, requirement } from '../../support/requirements.js';

const withEtcd = requirement('etcd (Debian: etcd-server, etcd-client)', pathOf(ETCD_SERVER) !== '')
  ? describe
  : describe.skip;
const STATUS = '/sorna/local/nodes/agents/i-one/';
/** Without Redis: only etcd is looked at here. */
const ALONE = ['event-bus = "local"'];

withEtcd('a daemon registers', () => {
  let daemon: TestDaemon | undefined;
  let server: EtcdServer | undefined;
  afterEach(async () => {
    await daemon?.dispose();
    await server?.stop();
    daemon = server = undefined;
  }, 60_000);

  const etcdTable = (more: string) => `[etcd]\nnamespace = "local"\n${more}`;

  test('over TLS with a certificate of its own, at the one of two addresses that lives', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'splenium-tls-'));
    try {
      const files = await makeCertificates(directory);
      server = await EtcdServer.start({ tls: files });
      await server.ctl('put', '/sorna/local/nodes/manager/i-manager', 'up');
      daemon = await TestDaemon.start({
        agentIds: ['i-one'],
        spleniumKeys: [
          ...ALONE,
          `etcd-tls.ca = "${files.ca}"`,
          `etcd-tls.cert = "${files.clientCert}"`,
          `etcd-tls.key = "${files.clientKey}"`,
        ],
        toml: etcdTable(
          `addr = ["127.0.0.1:${String(await freePort())}", "127.0.0.1:${String(server.port)}"]\n`,
        ),
      });
      expect(await server.ctl('get', '--print-value-only', STATUS)).toBe('running\n');
      expect(await daemon.stop()).toBe(0);
    } finally {
      await rm(directory, { recursive: true });
    }
  }, 150_000);

  test('with user and password, and with wrong ones waits and says why', async () => {
    server = await EtcdServer.start();
    await server.ctl('put', '/sorna/local/nodes/manager/i-manager', 'up');
    await server.ctl('user', 'add', 'root:secret');
    await server.ctl('user', 'grant-role', 'root', 'root');
    await server.ctl('auth', 'enable');
    const made = (password: string, ...more: readonly string[]) =>
      TestDaemon.prepare({
        agentIds: ['i-one'],
        spleniumKeys: [...ALONE, ...more],
        toml: etcdTable(
          `addr = "127.0.0.1:${String(server?.port)}"\nuser = "root"\npassword = "${password}"\n`,
        ),
      });
    daemon = await made('wrong', 'store-start-deadline-sec = 3');
    await expect(daemon.resume()).rejects.toThrow(/STORE_UNAVAILABLE: [^]*authentication failed/);
    expect(daemon.log).not.toContain('"wrong"');
    await daemon.dispose();
    daemon = await made('secret');
    await daemon.resume();
    const status = await server.ctl('--user=root:secret', 'get', '--print-value-only', STATUS);
    expect(status).toBe('running\n');
    expect(await daemon.stop()).toBe(0);
  }, 150_000);
});
