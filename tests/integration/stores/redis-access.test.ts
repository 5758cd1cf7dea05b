import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/core/logger.js';
import { RedisConnections, type RedisTarget } from '../../../src/stores/redis-connections.js';
import { makeCertificates } from '../../support/certificates.js';
import { eventually } from '../../support/eventually.js';
import { freePort } from '../../support/free-port.js';
import { RedisSentinels } from '../../support/redis-sentinels.js';
import { RedisServer } from '../../support/redis-server.js';
import { pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';

const withRedis = requirement('redis (Debian: redis-server)', pathOf(REDIS_SERVER) !== '')
  ? describe
  : describe.skip;
const TARGET: RedisTarget = {
  addr: null,
  sentinels: [],
  serviceName: null,
  user: null,
  password: null,
  sentinelPassword: null,
  useTls: false,
  tlsSkipVerify: false,
  connectTimeoutMs: 2000,
  requestTimeoutMs: null,
};
const at = (port: number) => ({ host: '127.0.0.1', port });

let connections: RedisConnections | undefined;
const open = (targetOf: (role: string) => RedisTarget): RedisConnections => {
  connections = new RedisConnections({ targetOf, logger: silentLogger });
  return connections;
};
afterEach(async () => {
  await connections?.close();
  connections = undefined;
});

withRedis('a Redis with a password', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await RedisServer.start({ password: 'right' });
  }, 60_000);
  afterAll(() => server.stop());

  test('a wrong one is told of as the reason', async () => {
    const wrong = open(() => ({ ...TARGET, addr: at(server.port), password: 'wrong' }));
    expect(await wrong.whenReady('stream', 1000)).toBe(false);
    expect(wrong.away.get('stream')).toMatch(/WRONGPASS|NOAUTH/);
  });

  test('a user of its access list is let in', async () => {
    const admin = open(() => ({ ...TARGET, addr: at(server.port), password: 'right' }));
    expect(await admin.whenReady('live', 20_000)).toBe(true);
    await admin.client('live').call('ACL', 'SETUSER', 'agent', 'on', '>own', '~*', '&*', '+@all');
    await admin.close();
    const user = open(() => ({ ...TARGET, addr: at(server.port), user: 'agent', password: 'own' }));
    expect(await user.whenReady('stream', 20_000)).toBe(true);
    expect(await user.client('stream').call('ACL', 'WHOAMI')).toBe('agent');
  });

  test('a role may have a server of its own', async () => {
    const other = await RedisServer.start();
    try {
      const both = open((role) =>
        role === 'statistics'
          ? { ...TARGET, addr: at(other.port) }
          : { ...TARGET, addr: at(server.port), password: 'right' },
      );
      expect(await both.whenReady('statistics', 20_000)).toBe(true);
      expect(await both.whenReady('stream', 20_000)).toBe(true);
      const ports = await Promise.all(
        (['statistics', 'stream'] as const).map((role) => both.client(role).config('GET', 'port')),
      );
      expect(ports.map((found) => String(found))).toEqual([
        `port,${String(other.port)}`,
        `port,${String(server.port)}`,
      ]);
    } finally {
      await other.stop();
    }
  });
});

withRedis('a Redis over TLS', () => {
  test('is reached, and only if its certificate may be believed', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'splenium-tls-'));
    const files = await makeCertificates(directory);
    const tlsPort = await freePort();
    const server = await RedisServer.start({
      arguments: [
        ...['--tls-port', String(tlsPort), '--tls-auth-clients', 'no', '--tls-ca-cert-file', files.ca],
        ...['--tls-cert-file', files.serverCert, '--tls-key-file', files.serverKey],
      ],
    });
    try {
      const target = { ...TARGET, addr: at(tlsPort), useTls: true };
      const careful = open(() => target);
      expect(await careful.whenReady('stream', 2000)).toBe(false);
      expect(careful.away.get('stream')).toMatch(/certificate/i);
      await careful.close();
      const careless = open(() => ({ ...target, tlsSkipVerify: true }));
      expect(await careless.whenReady('stream', 20_000)).toBe(true);
      expect(await careless.client('stream').ping()).toBe('PONG');
    } finally {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    }
  }, 60_000);
});

withRedis('a Redis behind sentinels', () => {
  test('is found by its name, also with a dead sentinel in the list, and again after a failover', async () => {
    const sentinels = await RedisSentinels.start();
    try {
      const { password, sentinelPassword, serviceName, ports } = sentinels;
      const found = open(() => ({
        ...{ ...TARGET, password, sentinelPassword, serviceName },
        sentinels: [at(1), ...ports.map(at)],
      }));
      expect(await found.whenReady('stream', 20_000)).toBe(true);
      const writtenTo = async () => {
        await found.client('stream').set('k', 'v');
        return String(await found.client('stream').config('GET', 'port'));
      };
      const [master, replica] = sentinels.servers;
      expect(await writtenTo()).toBe(`port,${String(master?.port)}`);
      await sentinels.failOver();
      await eventually(
        async () => {
          expect(await writtenTo()).toBe(`port,${String(replica?.port)}`);
        },
        { timeoutMs: 60_000, intervalMs: 100 },
      );
    } finally {
      await sentinels.stop();
    }
  }, 150_000);
});
