import { inflateSync } from 'node:zlib';
import { Redis } from 'ioredis';
import type { AgentClient } from '../../../src/client/agent-client.js';
import { createCodec, ImageRef } from '../../../src/codec/index.js';
import { TestDaemon } from '../../support/daemon.js';
import { describeWithEngine } from '../../support/docker-engine.js';
import { DockerRegistry } from '../../support/docker-registry.js';
import { eventually } from '../../support/eventually.js';
import { RedisServer } from '../../support/redis-server.js';
import { pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';

const SLOW_MS = 240_000;
/** Some scans and heartbeats. */
const PATIENT = { timeoutMs: 100_000 };
const AGENTS = ['i-one', 'i-two'];
const available = requirement('redis (Debian: redis-server)', pathOf(REDIS_SERVER) !== '');

/** One engine, a registry to pull from and one to push to, and a daemon with a Redis. */
await describeWithEngine('images of a daemon', (engine) => {
  const withRedis = available ? test : test.skip;
  const codec = createCodec({ dialect: '25.17' });
  let redis: RedisServer;
  let reader: Redis;
  let events: Redis;
  let source: DockerRegistry;
  let target: DockerRegistry;
  let daemon: TestDaemon | undefined;
  let clients: readonly AgentClient[] = [];

  beforeEach(async () => {
    [redis, source, target] = await Promise.all([
      RedisServer.start(),
      DockerRegistry.start(),
      DockerRegistry.start(),
    ]);
    reader = new Redis({ port: redis.port, db: 3 });
    events = new Redis({ port: redis.port, db: 4 });
    for (const one of [reader, events]) one.on('error', () => undefined);
  }, SLOW_MS);
  afterEach(async () => {
    for (const client of clients) await client.close();
    clients = [];
    await daemon?.dispose();
    daemon = undefined;
    for (const one of [reader, events]) one.disconnect();
    await Promise.all([redis.stop(), source.close(), target.close()]);
  }, SLOW_MS);

  const start = async (managerVersion: string) => {
    daemon = await TestDaemon.start({
      engine,
      agentIds: AGENTS,
      spleniumKeys: ['event-bus = "redis"', `manager-version = "${managerVersion}"`],
      toml: `[redis]\naddr = "127.0.0.1:${String(redis.port)}"\n[debug]\nheartbeat-interval = 1.0`,
    });
    return daemon;
  };
  /** The last state of a background task, as managers find it. */
  const lastOf = async (taskId: string) => {
    const { name, args } = JSON.parse((await events.get(`bgtask.${taskId}`)) ?? '{}') as Record<
      string,
      string
    >;
    return { name, message: (codec.unpack(Buffer.from(args ?? 'kA==', 'base64')) as unknown[])[1] };
  };
  const endOf = (taskId: string) =>
    eventually(async () => {
      expect(await lastOf(taskId)).toEqual({ name: 'bgtask_done', message: null });
    }, PATIENT);
  const hyphenated = (id: string) => id.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  const lists = async () =>
    (await Promise.all(AGENTS.map((id) => reader.get(`installed_image:${id}`)))).map(
      (text) => JSON.parse(text ?? 'null') as unknown,
    );
  /** Names of the images in the latest heartbeat of each agent, and of those that were said to be gone. */
  const announced = async () => {
    const heartbeats = new Map<string, unknown>();
    const gone = new Map<string, Record<string, unknown>>();
    for (const [, fields] of await events.xrangeBuffer('events', '-', '+')) {
      const field = (name: string) => fields[fields.findIndex((one) => one.toString() === name) + 1];
      const args = field('args');
      const name = String(field('name'));
      if (args === undefined || !['agent_heartbeat', 'agent_installed_images_remove'].includes(name))
        continue;
      const [first] = codec.unpack(args) as [Record<string, unknown>];
      if (name === 'agent_installed_images_remove')
        gone.set(String(field('source')), { ...gone.get(String(field('source'))), ...first });
      else heartbeats.set(String(field('source')), codec.unpack(inflateSync(first['images'] as Buffer)));
    }
    return { heartbeats, gone };
  };

  withRedis(
    'pulled, listed, pushed and purged: managers see each step',
    async () => {
      const made = await start('25.17');
      clients = AGENTS.map((id) => made.client(id));
      const [one, two] = clients;
      if (!one || !two) throw new Error('no agents');
      const digest = await source.publish('a kernel image');
      const canonical = `${source.name}/stable/kernel:1`;
      const pulls = await one.call('check_and_pull', {
        image_configs: {
          [canonical]: {
            canonical,
            project: 'stable',
            architecture: 'x86_64',
            digest,
            registry: { name: source.name, username: null, password: null },
            is_local: false,
            auto_pull: 'digest',
          },
        },
      });
      await endOf(hyphenated(new Map(Object.entries(pulls)).get(canonical) ?? ''));

      const architecture = process.arch === 'x64' ? 'x86_64' : 'aarch64';
      await eventually(async () => {
        expect(await lists()).toEqual(AGENTS.map(() => [{ canonical, digest, architecture }]));
      }, PATIENT);
      await eventually(async () => {
        const { heartbeats } = await announced();
        expect(AGENTS.map((id) => heartbeats.get(id))).toEqual(AGENTS.map(() => [[canonical, digest]]));
      }, PATIENT);

      const upload = `${target.name}/mine/kernel:2`;
      target.login = { username: 'user', password: 'correct' };
      await engine.docker.getImage(canonical).tag({ repo: `${target.name}/mine/kernel`, tag: '2' });
      const push = (password: string, isLocal = false) =>
        two.call('push_image', {
          image_ref: new ImageRef({
            registry: target.name,
            project: 'mine',
            name: 'kernel',
            tag: '2',
            architecture,
            isLocal,
          }),
          registry_conf: { name: target.name, username: 'user', password },
        });
      const local = await push('correct', true);
      await endOf(local.bgtask_id);
      expect(target.pushed.size).toBe(0);
      const refused = await push('wrong');
      await eventually(async () => {
        expect(await lastOf(refused.bgtask_id)).toEqual({
          name: 'bgtask_failed',
          message: expect.stringMatching(/^RuntimeError\('Failed to push image: /) as unknown,
        });
      }, PATIENT);
      const pushed = await push('correct');
      expect(pushed.canonical).toBe(upload);
      await endOf(pushed.bgtask_id);
      expect([...target.pushed.keys()]).toEqual(['mine/kernel:2']);

      await eventually(async () => {
        expect((await lists())[0]).toHaveLength(2);
      }, PATIENT);
      const absent = 'stable/absent:1';
      const purge = await two.call('purge_images', {
        image_canonicals: [canonical, absent, upload],
        force: false,
        noprune: false,
      });
      expect(purge.responses).toEqual([
        { image: canonical, error: null },
        { image: absent, error: expect.stringContaining(absent) as unknown },
        { image: upload, error: null },
      ]);
      await eventually(async () => {
        const { gone } = await announced();
        const removed = Object.fromEntries(
          [canonical, upload].map((name) => [name, { canonical: name, digest }]),
        );
        expect(AGENTS.map((id) => gone.get(id))).toEqual(AGENTS.map(() => removed));
      }, PATIENT);
      await eventually(async () => {
        expect(await reader.keys('*')).toEqual([]);
      }, PATIENT);
    },
    SLOW_MS,
  );
});
