import { appendFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { Redis } from 'ioredis';
import { consoleFile } from '../../src/backends/process/console-log.js';
import { TestDaemon } from '../support/daemon.js';
import { eventually } from '../support/eventually.js';
import { RedisServer } from '../support/redis-server.js';
import { pathOf, REDIS_SERVER, requirement } from '../support/requirements.js';

const PATIENT = { timeoutMs: 90_000, intervalMs: 100 };
const SPEC = {
  image: 'local/python:3',
  labels: { 'ai.backend.runtime-type': 'python', 'ai.backend.runtime-path': '/usr/bin/python3' },
  resourceSlots: { cpu: '1', mem: '67108864' },
};
/** More than one chunk of 64 KiB. */
const LINES = 4000;
const said = (name: string) => `${name} is left for the manager\n`.repeat(LINES);

const available = requirement('redis', pathOf(REDIS_SERVER) !== '');

(available ? describe : describe.skip)('logs of kernels that end while Redis is away', () => {
  let redis: RedisServer;
  let daemon: TestDaemon;
  let readers: readonly Redis[] = [];

  beforeEach(async () => {
    redis = await RedisServer.start();
    daemon = await TestDaemon.start({
      agentIds: ['i-one', 'i-two'],
      spleniumKeys: ['event-bus = "redis"', 'store-check-interval-sec = 1'],
      toml: `[redis]\naddr = "127.0.0.1:${String(redis.port)}"`,
      env: { BACKEND_CPU_OVERCOMMIT_FACTOR: '4' },
    });
  }, 120_000);
  afterEach(async () => {
    for (const reader of readers) reader.disconnect();
    readers = [];
    await daemon.dispose();
    await redis.stop();
  }, 120_000);

  const reader = (db: number): Redis => {
    const client = new Redis({ port: redis.port, db });
    client.on('error', () => undefined);
    readers = [...readers, client];
    return client;
  };
  const keptLogs = () => readdir(join(daemon.stateDirectory, 'container-logs'));

  /** A kernel of the agent that has written something. */
  const talkingKernel = async (agentId: string) => {
    const client = daemon.client(agentId);
    const kernel = await client.createKernel(SPEC);
    const file = consoleFile(join(daemon.stateDirectory, 'process', 'kernels', kernel.kernelId));
    await appendFile(file, said(kernel.kernelId));
    return {
      agentId,
      kernelId: kernel.kernelId,
      end: async () => {
        await client.destroyKernel(kernel);
        await client.close();
      },
    };
  };

  /** The log lies where a manager looks for it, as that kernel wrote it, and the agent has told of it. */
  const arrives = async ({ agentId, kernelId }: { readonly agentId: string; readonly kernelId: string }) => {
    const logs = reader(6);
    const stream = reader(4);
    const key = `containerlog.process-${kernelId}`;
    await eventually(async () => {
      const items = await logs.lrange(key, 0, -1);
      expect(items.length).toBeGreaterThan(1);
      const chunks = items.map((item) =>
        inflateSync(Buffer.from((JSON.parse(item) as { content: string }).content, 'base64')),
      );
      expect(chunks[0]).toHaveLength(65_536);
      expect(Buffer.concat(chunks).toString()).toContain(said(kernelId));
    }, PATIENT);
    expect(await logs.ttl(key)).toBeGreaterThan(3000);
    await eventually(async () => {
      const entries = await stream.xrange('events', '-', '+');
      const told = entries.flatMap(([, fields]) =>
        fields.includes('do_sync_kernel_logs') ? [fields[fields.indexOf('source') + 1]] : [],
      );
      expect(told).toContain(agentId);
    }, PATIENT);
  };

  test('are on disk before the containers are gone, and arrive when it is back', async () => {
    const kernels = [await talkingKernel('i-one'), await talkingKernel('i-two')];
    await redis.kill();
    for (const { end } of kernels) await end();
    expect(await keptLogs()).toHaveLength(2);
    await redis.resume();
    for (const kernel of kernels) await arrives(kernel);
    await eventually(async () => {
      expect(await keptLogs()).toEqual([]);
    }, PATIENT);
    // What ends from now on takes the short way again.
    const next = await talkingKernel('i-one');
    await next.end();
    await arrives(next);
    expect(await keptLogs()).toEqual([]);
  }, 240_000);

  test('arrive also from a daemon that was killed and started again meanwhile', async () => {
    const kernel = await talkingKernel('i-two');
    await redis.kill();
    await kernel.end();
    expect(await keptLogs()).toHaveLength(1);
    await daemon.kill();
    await daemon.resume();
    expect(await keptLogs()).toHaveLength(1);
    await redis.resume();
    await arrives(kernel);
    await eventually(async () => {
      expect(await keptLogs()).toEqual([]);
    }, PATIENT);
  }, 240_000);
});
