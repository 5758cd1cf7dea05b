import { randomUUID } from 'node:crypto';
import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { TestDaemon } from '../support/daemon.js';
import { eventually } from '../support/eventually.js';
import { RedisServer } from '../support/redis-server.js';
import { pathOf, REDIS_SERVER, requirement } from '../support/requirements.js';
import { StreamReader } from '../support/stream-reader.js';

const withRedis = requirement('redis (Debian: redis-server)', pathOf(REDIS_SERVER) !== '')
  ? describe
  : describe.skip;
const LIFE = ['kernel_preparing', 'kernel_creating', 'kernel_started', 'kernel_terminated'];

withRedis('a daemon that is killed', () => {
  let redis: RedisServer;
  let daemon: TestDaemon;
  let reader: StreamReader;

  beforeAll(async () => {
    redis = await RedisServer.start();
    reader = new StreamReader({ port: redis.port });
    daemon = await TestDaemon.start({
      agentIds: ['i-one'],
      spleniumKeys: ['event-bus = "redis"'],
      toml: `[redis]\naddr = "127.0.0.1:${String(redis.port)}"\n[debug]\nheartbeat-interval = 1`,
    });
  }, 120_000);
  afterAll(async () => {
    await daemon.dispose();
    reader.close();
    await redis.stop();
  }, 60_000);

  const journalOf = (kernelId: string) =>
    join(daemon.stateDirectory, 'agents', 'i-one', 'kernels', `${kernelId}.json`);
  const create = async () => {
    const kernel = { kernelId: randomUUID(), sessionId: randomUUID() };
    const client = daemon.client('i-one');
    await client.createKernel({
      ...kernel,
      image: 'local/python:3',
      labels: { 'ai.backend.runtime-type': 'python', 'ai.backend.runtime-path': '/usr/bin/python3' },
      resourceSlots: { cpu: '1', mem: '67108864' },
    });
    await client.close();
    return kernel;
  };
  const destroy = async (kernel: { readonly kernelId: string; readonly sessionId: string }) => {
    const client = daemon.client('i-one');
    await client.destroyKernel(kernel);
    await client.close();
  };

  test.each([
    ['knows it from its outbox', false],
    ['has lost its outbox, and Redis knows it', true],
  ])(
    'between sending the end of a kernel and forgetting it, sends it no second time: it %s',
    async (_title, losesOutbox) => {
      const kernel = await create();
      const kept = join(daemon.directory, 'kept.json');
      await copyFile(journalOf(kernel.kernelId), kept);
      await destroy(kernel);
      await reader.whenHeartbeatAfter('kernel_terminated', kernel.kernelId);
      await daemon.kill();
      await copyFile(kept, journalOf(kernel.kernelId));
      if (losesOutbox) await rm(join(daemon.stateDirectory, 'outbox.log'));
      const before = reader.events.length;
      await daemon.resume();
      await reader.whenEventAfter(before, 'agent_started');
      await reader.whenEventAfter(reader.events.length, 'agent_heartbeat');
      expect(reader.lifeOf(kernel.kernelId)).toEqual(LIFE);
    },
    120_000,
  );

  test.each([0, 1, 2, 3, 4, 5])(
    'at any moment of the end of a kernel announces this end once, round %i',
    async (round) => {
      const kernel = await create();
      const client = daemon.client('i-one', daemon.manager, {
        retries: { count: 0, firstDelayMs: 0, maxDelayMs: 0 },
      });
      await eventually(() => client.ping());
      const ended = client.destroyKernel(kernel).then(
        () => true,
        () => false,
      );
      await Promise.race([ended, pause(round * 40)]);
      await daemon.kill();
      await client.close();
      const answered = await ended;
      await daemon.resume();
      const after = daemon.client('i-one');
      const listed = await after.listKernels();
      await after.close();
      const isLeft = listed.some(({ kernel_id }) => kernel_id === kernel.kernelId);
      if (answered) expect(isLeft).toBe(false);
      if (isLeft) await destroy(kernel);
      await reader.whenHeartbeatAfter('kernel_terminated', kernel.kernelId);
      expect(reader.lifeOf(kernel.kernelId)).toEqual(LIFE);
    },
    120_000,
  );
});
