import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { RedisAbuseReports } from '../../../src/stores/redis-abuse-reports.js';
import { RedisCommitStatus } from '../../../src/stores/redis-commit-status.js';
import { eventually } from '../../support/eventually.js';
import { RedisServer } from '../../support/redis-server.js';
import { REDIS_SERVER, pathOf, requirement } from '../../support/requirements.js';

const withRedis = requirement('redis (Debian: redis-server)', pathOf(REDIS_SERVER) !== '')
  ? describe
  : describe.skip;

withRedis('reports in Redis', () => {
  let server: RedisServer;
  let client: Redis;

  beforeAll(async () => {
    server = await RedisServer.start();
    client = new Redis({ port: server.port, maxRetriesPerRequest: 0, retryStrategy: () => 50 });
    client.on('error', () => undefined);
    await eventually(() => client.ping());
  }, 60_000);
  afterAll(async () => {
    client.disconnect();
    await server.stop();
  });
  beforeEach(() => client.flushall());

  test('a commit that is under way has a key that goes away by itself', async () => {
    const ids = [randomUUID(), randomUUID()];
    await new RedisCommitStatus(() => client).ongoing(ids);
    for (const id of ids) {
      expect(await client.get(`kernel.${id}.commit`)).toBe('ongoing');
      const left = await client.ttl(`kernel.${id}.commit`);
      expect(left).toBeGreaterThan(0);
      expect(left).toBeLessThanOrEqual(13);
    }
  });

  test('without a commit nothing is written', async () => {
    await new RedisCommitStatus(() => client).ongoing([]);
    expect(await client.dbsize()).toBe(0);
  });

  test('abuse reports replace each other as a whole, and none leave no key', async () => {
    const reports = new RedisAbuseReports(() => client);
    await client.hset('abuse_report', 'of-an-earlier-run', 'detected');
    await reports.replace(
      new Map([
        ['a', 'detected'],
        ['b', 'cleaning'],
      ]),
    );
    expect(await client.hgetall('abuse_report')).toEqual({ a: 'detected', b: 'cleaning' });
    await reports.replace(new Map([['b', 'detected']]));
    expect(await client.hgetall('abuse_report')).toEqual({ b: 'detected' });
    await reports.replace(new Map());
    expect(await client.exists('abuse_report')).toBe(0);
  });

  test('what Redis refuses is an error', async () => {
    const reports = new RedisAbuseReports(() => client);
    await client.config('SET', 'maxmemory', '1');
    try {
      await expect(reports.replace(new Map([['a', 'detected']]))).rejects.toThrow();
      await expect(new RedisCommitStatus(() => client).ongoing(['a'])).rejects.toMatchObject({
        code: 'STORE_UNAVAILABLE',
      });
    } finally {
      await client.config('SET', 'maxmemory', '0');
    }
  });
});
