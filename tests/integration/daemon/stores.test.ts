import { Redis } from 'ioredis';
import { createCodec } from '../../../src/codec/index.js';
import { silentLogger } from '../../../src/core/logger.js';
import { EtcdStore } from '../../../src/stores/etcd-store.js';
import { TestDaemon } from '../../support/daemon.js';
import { EtcdServer } from '../../support/etcd-server.js';
import { eventually } from '../../support/eventually.js';
import { RedisServer } from '../../support/redis-server.js';
import { ETCD_SERVER, pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';

const available = requirement('etcd and redis', pathOf(ETCD_SERVER) !== '' && pathOf(REDIS_SERVER) !== '');
const codec = createCodec();
const PYTHON = { 'ai.backend.runtime-type': 'python', 'ai.backend.runtime-path': '/usr/bin/python3' };

interface StreamEvent {
  readonly name: string;
  readonly source: string;
  readonly args: readonly unknown[];
}

(available ? describe : describe.skip)('a daemon with etcd and Redis', () => {
  let etcd: EtcdServer;
  let redis: RedisServer;
  let store: EtcdStore;
  let reader: Redis;
  let daemon: TestDaemon | undefined;

  beforeEach(async () => {
    [etcd, redis] = await Promise.all([EtcdServer.start(), RedisServer.start()]);
    store = new EtcdStore({ endpoints: [etcd.endpoint], logger: silentLogger });
    reader = new Redis({ port: redis.port, db: 4 });
    reader.on('error', () => undefined);
  }, 90_000);
  afterEach(async () => {
    await daemon?.dispose();
    daemon = undefined;
    reader.disconnect();
    await store.close();
    await Promise.all([etcd.stop(), redis.stop()]);
  }, 90_000);

  const put = (key: string, value: string) =>
    store.write([{ type: 'put', key: `/sorna/local/${key}`, value }]);
  const prepare = async () => {
    await put('config/redis/addr', `127.0.0.1:${String(redis.port)}`);
    daemon = await TestDaemon.prepare({
      toml: `[etcd]\nnamespace = "local"\naddr = "${etcd.endpoint.replace('http://', '')}"\n`,
    });
    return daemon;
  };
  const events = async (): Promise<readonly StreamEvent[]> => {
    const entries = await reader.xrangeBuffer('events', '-', '+');
    return entries.map(([, fields]) => {
      const field = (name: string) => fields[fields.findIndex((text) => text.toString() === name) + 1];
      return {
        name: String(field('name')),
        source: String(field('source')),
        args: codec.unpack(field('args') ?? Buffer.of(0x90)) as unknown[],
      };
    });
  };
  const named = async (name: string) => (await events()).filter((event) => event.name === name);

  test('ends when it is told to: no connection to a store holds it', async () => {
    await put('nodes/manager/i-manager', 'up');
    const made = await prepare();
    await made.resume();
    expect(await made.stop()).toBe(0);
    // Its own trial of the socket is no stranger that an operator should look for.
    expect(made.log).not.toMatch(/a client (was refused|did not get through)/);
    const clients = String(await reader.client('LIST'))
      .trim()
      .split('\n');
    expect(clients).toHaveLength(1);
  }, 90_000);

  test('waits for a manager, registers, beats, and tells of a kernel’s life', async () => {
    const made = await prepare();
    const started = made.resume();
    await eventually(
      () => {
        expect(made.log).toContain('waiting for a manager');
      },
      { timeoutMs: 60_000 },
    );
    await put('nodes/manager/i-manager', 'up');
    await started;

    for (const id of made.agentIds) {
      expect(await store.get(`/sorna/local/nodes/agents/${id}/`)).toBe('running');
      expect(await store.get(`/sorna/local/nodes/agents/${id}/ip`)).toBe('127.0.0.1');
    }
    await eventually(async () => {
      expect((await named('agent_started')).map(({ source }) => source).sort()).toEqual(['i-one', 'i-two']);
      expect(new Set((await named('agent_heartbeat')).map(({ source }) => source)).size).toBe(2);
    });
    const [beat] = await named('agent_heartbeat');
    expect(beat?.args[0]).toMatchObject({ scaling_group: 'default', region: 'local', addr: made.address });
    expect(Buffer.from((beat?.args[0] as { public_key: Uint8Array }).public_key).toString()).toBe(
      made.serverPublicKey,
    );

    const client = made.client('i-two');
    const kernel = await client.createKernel({
      image: 'local/python:3',
      labels: PYTHON,
      resourceSlots: { cpu: '1', mem: '67108864' },
    });
    await client.destroyKernel(kernel);
    await client.close();
    await eventually(async () => {
      const own = (await events()).filter(({ name }) => name.startsWith('kernel_'));
      expect(own.map(({ name, source }) => [name, source])).toEqual([
        ['kernel_preparing', 'i-two'],
        ['kernel_creating', 'i-two'],
        ['kernel_started', 'i-two'],
        ['kernel_terminated', 'i-two'],
      ]);
    });
    const [ended] = await named('kernel_terminated');
    expect(ended?.args.slice(0, 3)).toEqual([kernel.kernelId, kernel.sessionId, 'user-requested']);

    expect(await made.stop()).toBe(0);
    expect((await named('agent_terminated')).map(({ args }) => args)).toEqual([['shutdown'], ['shutdown']]);
  }, 150_000);

  test('a start waits for etcd and can be ended while it waits', async () => {
    const made = await prepare();
    await put('nodes/manager/i-manager', 'up');
    await etcd.kill();
    const started = made.resume();
    await eventually(
      () => {
        expect(made.log).toContain('waiting for a store');
      },
      { timeoutMs: 60_000 },
    );
    await etcd.resume();
    await started;
    const client = made.client();
    expect(await client.ping('served')).toBe('served');
    await client.close();
  }, 150_000);

  test('events of a time without Redis arrive when it is back, in order, also after kill -9', async () => {
    const made = await prepare();
    await put('nodes/manager/i-manager', 'up');
    await made.resume();
    await eventually(async () => {
      expect(await named('agent_started')).toHaveLength(2);
    });
    await redis.kill();
    const client = made.client('i-one');
    const kernel = await client.createKernel({
      image: 'local/python:3',
      labels: PYTHON,
      resourceSlots: { cpu: '1', mem: '67108864' },
    });
    await client.destroyKernel(kernel);
    await client.close();
    await made.kill();
    await redis.resume();
    await made.resume();
    await eventually(
      async () => {
        const own = (await events()).filter(({ name }) => name.startsWith('kernel_'));
        expect(own.map(({ name }) => name)).toEqual([
          'kernel_preparing',
          'kernel_creating',
          'kernel_started',
          'kernel_terminated',
        ]);
      },
      { timeoutMs: 60_000 },
    );
  }, 150_000);
});
