import { Redis } from 'ioredis';
import { RedisSubscriber } from '../../../src/stores/redis-subscriber.js';
import { eventually } from '../../support/eventually.js';
import { RecordedLog } from '../../support/recorded-log.js';
import { RedisServer } from '../../support/redis-server.js';
import { pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';

const withRedis = requirement('redis (Debian: redis-server)', pathOf(REDIS_SERVER) !== '')
  ? describe
  : describe.skip;

withRedis('a subscriber', () => {
  let server: RedisServer;
  let heard: string[];
  let logger: RecordedLog;
  let subscriber: RedisSubscriber;
  let publisher: Redis;

  beforeEach(async () => {
    server = await RedisServer.start();
    heard = [];
    logger = new RecordedLog();
    publisher = new Redis({ port: server.port });
    publisher.on('error', () => undefined);
    subscriber = new RedisSubscriber({
      // As the connections of the daemon are: nothing waits for a connection.
      client: new Redis({
        port: server.port,
        db: 4,
        enableOfflineQueue: false,
        maxRetriesPerRequest: 0,
        commandTimeout: 500,
        retryStrategy: () => 50,
      }),
      channel: 'events_all',
      listener: (message) => {
        heard.push(message);
        if (message === 'bad') throw new Error('not my business');
      },
      logger,
      pingMs: 200,
    });
  }, 60_000);
  afterEach(async () => {
    await subscriber.close();
    publisher.disconnect();
    await server.stop();
  });

  /** Until it has been heard: what is said before the subscription is nobody's. */
  const say = (message: string) =>
    eventually(
      async () => {
        await publisher.publish('events_all', message);
        if (!heard.includes(message)) throw new Error(`${message} is not heard`);
      },
      { timeoutMs: 30_000 },
    );

  test('hears its channel and no other', async () => {
    await say('one');
    await publisher.publish('events_none', 'two');
    await say('three');
    expect(new Set(heard)).toEqual(new Set(['one', 'three']));
  }, 60_000);

  test('hears it again after Redis was away', async () => {
    await say('before');
    await server.kill();
    await eventually(() => {
      if (subscriber.isSubscribed) throw new Error('still subscribed');
    });
    await server.resume();
    await say('after');
    expect(logger.lines.map(({ message }) => message)).toEqual([
      'a channel is not heard; trying on',
      'a channel is heard again',
    ]);
  }, 90_000);

  test('hears it again after Redis was frozen, which closes no connection', async () => {
    await say('before');
    server.freeze();
    await eventually(
      () => {
        if (subscriber.isSubscribed) throw new Error('still subscribed');
      },
      { timeoutMs: 30_000 },
    );
    server.thaw();
    await say('after');
  }, 90_000);

  test('goes on after a listener failed', async () => {
    await say('bad');
    await say('good');
    expect(logger.lines).toContainEqual(expect.objectContaining({ level: 'error' }));
  }, 60_000);

  test('hears nothing once it is closed', async () => {
    await say('one');
    await subscriber.close();
    await eventually(async () => {
      expect(await publisher.publish('events_all', 'two')).toBe(0);
    });
    expect(heard).not.toContain('two');
  }, 60_000);
});
