import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { Redis } from 'ioredis';
import { consoleFile } from '../../../src/backends/process/console-log.js';
import { createCodec } from '../../../src/codec/index.js';
import { TestDaemon } from '../../support/daemon.js';
import { eventually } from '../../support/eventually.js';
import { freePort } from '../../support/free-port.js';
import { RedisServer } from '../../support/redis-server.js';
import { pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';

const available = requirement('redis', pathOf(REDIS_SERVER) !== '');
const codec = createCodec();
const PYTHON = { 'ai.backend.runtime-type': 'python', 'ai.backend.runtime-path': '/usr/bin/python3' };
const WAIT = { timeoutMs: 60_000 };
const SCHEDULES = ['node', 'container', 'process']
  .map((scope) => `[agent.utilization-metric.${scope}]\ninterval = 0.5\n`)
  .join('');

/** Maps as plain objects, whichever of the two the codec made. */
const plain = (value: unknown): unknown =>
  value instanceof Map
    ? Object.fromEntries([...value].map(([key, item]) => [String(key), plain(item)]))
    : value !== null && typeof value === 'object'
      ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]))
      : value;

const createKernel = async (daemon: TestDaemon, agentId: string) => {
  const client = daemon.client(agentId);
  const kernel = await client.createKernel({
    image: 'local/python:3',
    labels: PYTHON,
    resourceSlots: { cpu: '1', mem: '67108864' },
  });
  return { client, kernel, end: () => client.destroyKernel(kernel) };
};

(available ? describe : describe.skip)('statistics of a daemon with Redis', () => {
  let redis: RedisServer;
  let daemon: TestDaemon | undefined;
  let readers: readonly Redis[] = [];

  const reader = (db: number): Redis => {
    const client = new Redis({ port: redis.port, db });
    client.on('error', () => undefined);
    readers = [...readers, client];
    return client;
  };
  beforeEach(async () => {
    redis = await RedisServer.start();
  }, 90_000);
  afterEach(async () => {
    await daemon?.dispose();
    daemon = undefined;
    for (const one of readers) one.disconnect();
    readers = [];
    await redis.stop();
  }, 90_000);

  const start = async () => {
    daemon = await TestDaemon.start({
      agentIds: ['i-one', 'i-two'],
      spleniumKeys: ['event-bus = "redis"'],
      toml: `[redis]\naddr = "127.0.0.1:${String(redis.port)}"\n${SCHEDULES}`,
    });
    return daemon;
  };

  test('node, kernels, processes and counts are published with their lifetimes', async () => {
    const made = await start();
    const statistics = reader(0);
    const read = async (key: string) => {
      const bytes = await statistics.getBuffer(key);
      if (bytes === null) throw new Error(`there is no ${key}`);
      return plain(codec.unpack(bytes)) as Record<string, Record<string, unknown>>;
    };
    const lifetime = async (key: string, seconds: number) => {
      const left = await statistics.ttl(key);
      expect(left).toBeGreaterThan(0);
      expect(left).toBeLessThanOrEqual(seconds);
      return left;
    };
    for (const id of made.agentIds)
      await eventually(async () => {
        const { node, devices } = await read(id);
        expect(Object.keys(node ?? {}).sort()).toEqual(['cpu_util', 'disk', 'mem', 'net_rx', 'net_tx']);
        expect(node?.['mem']).toEqual({
          current: expect.stringMatching(/^\d+$/),
          capacity: expect.stringMatching(/^\d+$/),
          pct: expect.stringMatching(/^\d+(\.\d{1,2})?$/),
          unit_hint: 'bytes',
          'stats.max': expect.stringMatching(/^\d+$/),
        });
        expect(devices?.['cpu_util']).toMatchObject({ '0': { unit_hint: 'msec' } });
        expect(await lifetime(id, 120)).toBeGreaterThan(60);
      }, WAIT);
    await eventually(async () => {
      expect(Object.keys(await statistics.hgetall('computer.metadata')).sort()).toEqual(['cpu', 'ram']);
    }, WAIT);

    const { client, kernel, end } = await createKernel(made, 'i-two');
    await eventually(async () => {
      const record = await read(kernel.kernelId);
      expect(Object.keys(record).sort()).toEqual([
        'cpu_used',
        'cpu_util',
        'io_read',
        'io_scratch_size',
        'io_write',
        'mem',
        'net_rx',
        'net_tx',
      ]);
      expect(Number(record['mem']?.['current'])).toBeGreaterThan(0);
      expect(record['mem']?.['capacity']).toBe('67108864');
      expect(Number(record['cpu_used']?.['current'])).toBeGreaterThan(0);
      expect(await lifetime(kernel.kernelId, 86_400)).toBeGreaterThan(80_000);
    }, WAIT);
    const containerId = `process-${kernel.kernelId}`;
    await eventually(async () => {
      const processes = Object.entries(await read(containerId));
      expect(processes.length).toBeGreaterThan(0);
      for (const [pid, record] of processes) {
        expect(pid).toMatch(/^\d+$/);
        expect(record).toMatchObject({ cpu_util: { unit_hint: 'percent', capacity: '1000' } });
      }
      await lifetime(containerId, 8);
    }, WAIT);
    await eventually(async () => {
      expect(await statistics.get('container_count.i-one')).toBe('0');
      expect(await statistics.get('container_count.i-two')).toBe('1');
    }, WAIT);

    const said = 'left for the manager\n'.repeat(4000);
    await appendFile(consoleFile(join(made.stateDirectory, 'process', 'kernels', kernel.kernelId)), said);
    await end();
    await client.close();
    await eventually(async () => {
      expect(await statistics.exists(containerId)).toBe(0);
    }, WAIT);
    // What the kernel has written lies there for the manager, who is told before the kernel is over.
    const logs = reader(6);
    const key = `containerlog.${containerId}`;
    const items = await eventually(async () => {
      const found = await logs.lrange(key, 0, -1);
      expect(found).toHaveLength(2);
      return found.map((item) => JSON.parse(item) as { compress_type: string; content: string });
    }, WAIT);
    const chunks = items.map(({ compress_type, content }) => {
      expect(compress_type).toBe('zlib');
      return inflateSync(Buffer.from(content, 'base64'));
    });
    expect(chunks[0]).toHaveLength(65_536);
    expect(Buffer.concat(chunks).toString()).toContain(said);
    expect(await logs.ttl(key)).toBeGreaterThan(3000);
    const stream = reader(4);
    await eventually(async () => {
      const entries = await stream.xrange('events', '-', '+');
      const all = entries.map(([, fields]) => fields[fields.indexOf('name') + 1]);
      expect(all).toContain('do_sync_kernel_logs');
      expect(all.indexOf('kernel_terminated')).toBeGreaterThan(all.indexOf('do_sync_kernel_logs'));
    }, WAIT);
    // For accounting.
    expect(await statistics.exists(kernel.kernelId)).toBe(1);
    expect(await made.stop()).toBe(0);
  }, 180_000);

  test('a Redis that was away gets statistics when it is back', async () => {
    const made = await start();
    await redis.kill();
    await eventually(() => {
      expect(made.log).toContain('statistics of the node');
    }, WAIT);
    await redis.resume();
    const statistics = reader(0);
    await eventually(async () => {
      expect(await statistics.exists('i-one', 'i-two')).toBe(2);
    }, WAIT);
  }, 150_000);
});

describe('statistics of a daemon by itself', () => {
  test('are there as gauges', async () => {
    const port = await freePort();
    const daemon = await TestDaemon.start({
      agentIds: ['i-one'],
      spleniumKeys: [`http-addr = "127.0.0.1:${String(port)}"`],
      toml: SCHEDULES,
    });
    try {
      const { client, kernel } = await createKernel(daemon, 'i-one');
      await client.close();
      await eventually(async () => {
        const text = await (await fetch(`http://127.0.0.1:${String(port)}/metrics`)).text();
        expect(text).toMatch(
          /^backendai_device_utilization\{device_metric_name="mem",agent_id="i-one",device_id="root",value_type="capacity"\} \d+$/m,
        );
        expect(text).toMatch(
          new RegExp(
            `^backendai_container_utilization\\{container_metric_name="mem",agent_id="i-one",kernel_id="${kernel.kernelId}",session_id="${kernel.sessionId}",user_id="[^"]+",project_id="[^"]+",value_type="current"\\} \\d+$`,
            'm',
          ),
        );
      }, WAIT);
    } finally {
      await daemon.dispose();
    }
  }, 150_000);
});
