import { Redis } from 'ioredis';
import { InstalledImages } from '../../../src/agent/installed-images.js';
import { parseAgentId } from '../../../src/core/ids.js';
import { ImageNews } from '../../../src/daemon/images.js';
import { RedisConnections } from '../../../src/stores/redis-connections.js';
import { FaultyBackend } from '../../support/faulty-backend.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RecordedEvents } from '../../support/recorded-events.js';
import { RecordedLog } from '../../support/recorded-log.js';
import { RedisServer } from '../../support/redis-server.js';
import { pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';

const available = requirement('redis (Debian: redis-server)', pathOf(REDIS_SERVER) !== '');
const IDS = ['i-one', 'i-two'].map(parseAgentId);
const key = (id: string) => `installed_image:${id}`;

(available ? describe : describe.skip)('installed images in Redis', () => {
  let server: RedisServer;
  let connections: RedisConnections;
  let reader: Redis;
  let backend: FaultyBackend;
  let clock: ManualClock;
  let installed: InstalledImages;
  let events: RecordedEvents;
  let log: RecordedLog;
  let news: readonly ImageNews[];

  beforeEach(async () => {
    server = await RedisServer.start();
    log = new RecordedLog();
    connections = new RedisConnections({
      targetOf: () => ({
        addr: { host: '127.0.0.1', port: server.port },
        sentinels: [],
        serviceName: null,
        user: null,
        password: null,
        sentinelPassword: null,
        useTls: false,
        tlsSkipVerify: false,
        connectTimeoutMs: 2000,
        requestTimeoutMs: null,
      }),
      logger: log,
    });
    reader = new Redis({ port: server.port, db: 3 });
    reader.on('error', () => undefined);
    backend = new FaultyBackend();
    backend.localImages.add('r/a:1').add('r/b:1');
    clock = new ManualClock();
    installed = await InstalledImages.start({ images: backend.images, clock, logger: log });
    events = new RecordedEvents();
    news = IDS.map(
      (agentId) => new ImageNews({ agentId, installed, events, redis: connections, logger: log }),
    );
    await connections.whenReady('image', 20_000);
  }, 60_000);
  afterEach(async () => {
    for (const one of news) one.stop();
    await installed.stop();
    reader.disconnect();
    await connections.close();
    await server.stop();
  });

  const beat = async () => {
    for (const one of news) await one.store();
  };
  const rescan = async () => {
    const before = installed.current;
    await eventually(() => {
      clock.advance(20_000);
      expect(installed.current).not.toBe(before);
    });
  };

  test('each heartbeat writes the list of each agent as JSON into database 3, for good', async () => {
    await beat();
    for (const id of IDS) {
      const text = (await reader.get(key(id))) ?? '';
      expect(JSON.parse(text)).toEqual([
        { canonical: 'r/a:1', digest: 'sha256:1', architecture: 'x86_64' },
        { canonical: 'r/b:1', digest: 'sha256:1', architecture: 'x86_64' },
      ]);
      expect(await reader.ttl(key(id))).toBe(-1);
    }
  });

  test('images that vanish are announced by every agent; the last one takes the list with it', async () => {
    await beat();
    backend.localImages.clear();
    await rescan();
    const images = ['r/a:1', 'r/b:1'].map((canonical) => ({
      canonical,
      digest: 'sha256:1',
      architecture: 'x86_64',
    }));
    expect(events.published).toEqual(
      IDS.map((source) => ({ source, event: { name: 'agent_installed_images_remove', images } })),
    );
    await beat();
    expect(await reader.keys('*')).toEqual([]);
  });

  test('an agent that has stopped announces nothing any more', async () => {
    for (const one of news) one.stop();
    backend.localImages.clear();
    await rescan();
    expect(events.published).toEqual([]);
  });

  test('a server that is away costs the lists of that time, is complained of once, and gets them when it is back', async () => {
    await server.kill();
    await eventually(async () => {
      await beat();
      expect(log.lines.some(({ message }) => message.startsWith('the list of images is not in redis'))).toBe(
        true,
      );
    });
    await beat();
    const complaints = log.lines.filter(({ message }) => message.startsWith('the list of images'));
    expect(complaints.map(({ fields }) => fields['agentId'])).toEqual(IDS);
    await server.resume();
    await eventually(async () => {
      await beat();
      expect(await reader.keys('*')).toHaveLength(2);
    });
  }, 60_000);

  test('before a scan has succeeded nothing is written or taken away', async () => {
    await beat();
    const failing = new FaultyBackend();
    failing.faults.fail('images.list');
    const unknown = await InstalledImages.start({ images: failing.images, clock, logger: log });
    const [agentId] = IDS;
    if (agentId === undefined) throw new Error('no agent');
    const one = new ImageNews({ agentId, installed: unknown, events, redis: connections, logger: log });
    await one.store();
    expect(await reader.get(key(agentId))).toContain('r/a:1');
    one.stop();
    await unknown.stop();
  });
});
