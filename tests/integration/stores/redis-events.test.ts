import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { silentLogger } from '../../../src/core/logger.js';
import { RedisConnections, type RedisTarget } from '../../../src/stores/redis-connections.js';
import { type RedisDelivery, RedisEvents } from '../../../src/stores/redis-events.js';
import { eventually } from '../../support/eventually.js';
import { RedisServer } from '../../support/redis-server.js';
import { REDIS_SERVER, pathOf, requirement } from '../../support/requirements.js';

const withRedis = requirement('redis (Debian: redis-server)', pathOf(REDIS_SERVER) !== '')
  ? describe
  : describe.skip;

const target = (server: RedisServer): RedisTarget => ({
  addr: { host: '127.0.0.1', port: server.port },
  sentinels: [],
  serviceName: null,
  user: null,
  password: server.password,
  sentinelPassword: null,
  useTls: false,
  tlsSkipVerify: false,
  connectTimeoutMs: 2000,
  requestTimeoutMs: 500,
});

const anycast = (fields: NonNullable<RedisDelivery['anycast']>): RedisDelivery => ({
  token: randomUUID(),
  once: true,
  anycast: fields,
  broadcast: null,
  cacheKey: null,
});
const broadcast = (message: string, cacheKey: string | null): RedisDelivery => ({
  ...{ token: randomUUID(), once: true, anycast: null },
  broadcast: message,
  cacheKey,
});

withRedis('events over Redis', () => {
  let server: RedisServer;
  let connections: RedisConnections;
  let events: RedisEvents;
  let reader: Redis;

  beforeEach(async () => {
    server = await RedisServer.start({ password: 'a secret' });
    connections = new RedisConnections({ targetOf: () => target(server), logger: silentLogger });
    events = new RedisEvents({ client: () => connections.client('stream'), logger: silentLogger });
    reader = new Redis({ port: server.port, db: 4, password: 'a secret' });
    reader.on('error', () => undefined);
    await eventually(() => events.deliver(anycast([['name', Buffer.from('first')]])));
  }, 60_000);
  afterEach(async () => {
    reader.disconnect();
    await connections.close();
    await server.stop();
  });

  test('an anycast is an entry of the stream, bytes and order kept', async () => {
    const args = Buffer.from([0x91, 0xff, 0x00, 0xc3]);
    await events.deliver(
      anycast([
        ['name', Buffer.from('agent_started')],
        ['source', Buffer.from('i-one')],
        ['args', args],
      ]),
    );
    const [, entry] = await reader.xrangeBuffer('events', '-', '+');
    expect(entry?.[1].map((field) => field.toString('latin1'))).toEqual([
      'name',
      'agent_started',
      'source',
      'i-one',
      'args',
      args.toString('latin1'),
    ]);
  });

  test('a broadcast reaches listeners, and the last one of a task is kept for a while', async () => {
    const listener = new Redis({ port: server.port, password: 'a secret' });
    const heard: string[] = [];
    listener.on('message', (_channel, message) => heard.push(message));
    await listener.subscribe('events_all');
    await events.deliver(broadcast('{"name":"bgtask_done"}', 'bgtask.1'));
    await events.deliver(broadcast('{"name":"kernel_started"}', null));
    await eventually(() => {
      expect(heard).toEqual(['{"name":"bgtask_done"}', '{"name":"kernel_started"}']);
    });
    expect(await reader.get('bgtask.1')).toBe('{"name":"bgtask_done"}');
    expect(await reader.ttl('bgtask.1')).toBeGreaterThan(200);
    listener.disconnect();
  });

  test('a server that is away fails the command at once, a frozen one after its time limit, both come back', async () => {
    const send = () => events.deliver(anycast([['name', Buffer.from('x')]]));
    server.freeze();
    await expect(send()).rejects.toThrow();
    server.thaw();
    await eventually(send);
    await server.kill();
    await eventually(() => expect(send()).rejects.toThrow());
    await eventually(() => {
      expect([...connections.away.keys()]).toEqual(['stream']);
    });
    await server.resume();
    await eventually(send);
    await eventually(() => {
      expect(connections.away.size).toBe(0);
    });
  }, 60_000);

  test('an event that is repeated because its answer was lost is in the stream once', async () => {
    const event = {
      ...anycast([['name', Buffer.from('kernel_terminated')]]),
      broadcast: '{"name":"kernel_terminated"}',
    };
    const heard: string[] = [];
    const listener = new Redis({ port: server.port, password: 'a secret' });
    listener.on('message', (_channel, message) => heard.push(message));
    await listener.subscribe('events_all');
    server.freeze();
    // It lies in front of the server, which carries it out when it goes on.
    await expect(events.deliver(event)).rejects.toThrow();
    server.thaw();
    await eventually(() => events.deliver(event));
    await events.deliver(event);
    await eventually(() => {
      expect(heard).toEqual(['{"name":"kernel_terminated"}']);
    });
    expect(await reader.xlen('events')).toBe(2);
    listener.disconnect();
  });

  test('nothing is sent to a server that is frozen until it has answered again', async () => {
    server.freeze();
    await expect(events.deliver(anycast([['name', Buffer.from('frozen')]]))).rejects.toThrow();
    for (let attempt = 0; attempt < 5; attempt += 1)
      await expect(
        events.deliver({ ...anycast([['name', Buffer.from('frozen')]]), once: false }),
      ).rejects.toThrow();
    server.thaw();
    await eventually(() => events.deliver(anycast([['name', Buffer.from('last')]])));
    const entries = await reader.xrange('events', '-', '+');
    expect(entries.map(([, fields]) => fields[1])).toEqual(['first', 'frozen', 'last']);
  });

  test('a server that allows no scripts gets both halves one after the other', async () => {
    await reader.call('ACL', 'SETUSER', 'default', '-eval');
    await events.deliver({ ...anycast([['name', Buffer.from('x')]]), broadcast: '{}' });
    expect(await reader.xlen('events')).toBe(2);
  });

  test('each role has its database', async () => {
    await eventually(() => connections.client('container_log').rpush('containerlog.1', 'x'));
    const logs = new Redis({ port: server.port, db: 6, password: 'a secret' });
    expect(await logs.llen('containerlog.1')).toBe(1);
    logs.disconnect();
  });
});
