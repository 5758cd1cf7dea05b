import { once } from 'node:events';
import { Redis } from 'ioredis';
import { RedisImageDistros } from '../../../src/stores/redis-image-distros.js';
import { RedisServer } from '../../support/redis-server.js';
import { pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';

const available = requirement('redis (Debian: redis-server)', pathOf(REDIS_SERVER) !== '');
const DAY_SEC = 86_400;

(available ? describe : describe.skip)('what images are based on, in Redis', () => {
  let server: RedisServer;
  let client: Redis;
  let distros: RedisImageDistros;

  beforeEach(async () => {
    server = await RedisServer.start();
    client = new Redis({ port: server.port, host: '127.0.0.1', retryStrategy: () => null });
    distros = new RedisImageDistros(() => client);
  });
  afterEach(async () => {
    if (client.status !== 'end') {
      const ended = once(client, 'end');
      client.disconnect();
      await ended;
    }
    await server.stop();
  });

  test('lies where other nodes look, for a day', async () => {
    expect(await distros.read('00ff')).toBeNull();
    await distros.write('00ff', 'ubuntu22.04');
    expect(await client.get('image:00ff:distro')).toBe('ubuntu22.04');
    expect(await client.ttl('image:00ff:distro')).toBeGreaterThan(DAY_SEC - 1000);
    expect(await distros.read('00ff')).toBe('ubuntu22.04');
  });

  test('is kept for another day by whoever reads it', async () => {
    await client.set('image:00ff:distro', 'alpine3.8', 'EX', 100);
    expect(await distros.read('00ff')).toBe('alpine3.8');
    expect(await client.ttl('image:00ff:distro')).toBeGreaterThan(1000);
  });

  test('an empty value says nothing, and a Redis that is away is an error', async () => {
    await client.set('image:00ff:distro', '');
    expect(await distros.read('00ff')).toBeNull();
    await client.quit();
    await expect(distros.read('00ff')).rejects.toThrow();
  });
});
