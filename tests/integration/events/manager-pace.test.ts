import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { createCodec } from '../../../src/codec/index.js';
import { systemClock } from '../../../src/core/clock.js';
import { DisposalStack } from '../../../src/core/disposal.js';
import { parseAgentId, parseKernelId, parseSessionId } from '../../../src/core/ids.js';
import { noMetrics } from '../../../src/core/metrics.js';
import type { AgentEvent } from '../../../src/events/catalogue.js';
import { EventEncoder } from '../../../src/events/event-encoder.js';
import { Outbox } from '../../../src/events/outbox.js';
import { OutboxLog } from '../../../src/events/outbox-log.js';
import { RedisConnections } from '../../../src/stores/redis-connections.js';
import { RedisEvents } from '../../../src/stores/redis-events.js';
import { eventually } from '../../support/eventually.js';
import { RecordedLog } from '../../support/recorded-log.js';
import { RedisServer } from '../../support/redis-server.js';
import { EventConsumer } from '../../support/manager/event-consumer.js';
import { pathOf, REDIS_SERVER, requirement } from '../../support/requirements.js';

const withRedis = requirement('redis (Debian: redis-server)', pathOf(REDIS_SERVER) !== '')
  ? describe
  : describe.skip;

const AGENT = parseAgentId('i-one');
const SESSION = parseSessionId('22222222-2222-4222-8222-222222222222');
const PATIENT = { timeoutMs: 60_000, intervalMs: 10 };
const ended = (index: number, reason = String(index)): AgentEvent => ({
  name: 'kernel_terminated',
  kernelId: parseKernelId(index.toString(16).padStart(32, '0')),
  sessionId: SESSION,
  reason,
  exitCode: 0,
});
const heartbeat: AgentEvent = { name: 'agent_status_heartbeat', containers: [], kernels: [] };
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);

withRedis('events on their way to managers', () => {
  let directory: string;
  let server: RedisServer;
  let connections: RedisConnections;
  let manager: Redis;
  let log: RecordedLog;
  let outbox: Outbox;
  let opened: DisposalStack;

  beforeEach(async () => {
    opened = new DisposalStack();
    directory = await mkdtemp(join(tmpdir(), 'splenium-pace-'));
    opened.defer('directory', () => rm(directory, { recursive: true, force: true }));
    server = await RedisServer.start({ arguments: ['--proto-max-bulk-len', '1mb'] });
    opened.defer('redis', () => server.stop());
    log = new RecordedLog();
    connections = new RedisConnections({
      targetOf: () => ({
        addr: { host: '127.0.0.1', port: server.port },
        ...{ sentinels: [], serviceName: null, user: null, password: null, sentinelPassword: null },
        ...{ useTls: false, tlsSkipVerify: false, connectTimeoutMs: 2000, requestTimeoutMs: 5000 },
      }),
      logger: log,
    });
    opened.defer('connections', () => connections.close());
    manager = new Redis({ port: server.port, db: 4, protocol: 2 });
    manager.on('error', () => undefined);
    opened.defer('manager', () => {
      manager.disconnect();
    });
    outbox = await open();
    opened.defer('outbox', () => outbox.close(0));
  }, 60_000);
  afterEach(() => opened.close(), 60_000);

  const open = async (folder = directory): Promise<Outbox> =>
    new Outbox({
      ...(await OutboxLog.open(join(folder, 'outbox.log'), log)),
      encoder: new EventEncoder({ managerVersion: '25.17', codec: createCodec() }),
      transport: new RedisEvents({ client: () => connections.client('stream'), logger: log }),
      limits: { maxEvents: 10_000, maxBytes: 64 * 1024 * 1024, maxAgeMs: 3_600_000 },
      clock: systemClock,
      logger: log,
      metrics: noMetrics,
    });
  const makeGroup = () => manager.xgroup('CREATE', 'events', 'manager', '$', 'MKSTREAM');
  /** Reasons of what the group is given next, which tell the events apart. */
  const read = async (count: number): Promise<readonly string[]> => {
    const answer = (await manager.xreadgroupBuffer(
      ...(['GROUP', 'manager', 'test', 'COUNT', count, 'STREAMS', 'events', '>'] as const),
    )) as readonly [Buffer, [Buffer, Buffer[]][]][] | null;
    return (answer?.[0]?.[1] ?? []).map(([, fields]) => {
      const args = createCodec().unpack(fields[5] ?? Buffer.of(0x90)) as readonly unknown[];
      return fields[1]?.toString() === 'kernel_terminated' ? String(args[2]) : String(fields[1]);
    });
  };
  const publish = async (from: number, count: number) => {
    await Promise.all(numbers(count).map((index) => outbox.publish(AGENT, ended(from + index))));
  };
  const whenEmpty = () =>
    eventually(() => {
      expect(outbox.length).toBe(0);
    }, PATIENT);
  /** Entries behind what the group was given. */
  const unread = async () => {
    const [group] = (await manager.xinfo('GROUPS', 'events')) as readonly (readonly unknown[])[];
    const position = String(group?.[group.indexOf('last-delivered-id') + 1]);
    return (await manager.xrange('events', `(${position}`, '+')).length;
  };
  /** Reads a little whenever the outbox waits for it: the slowest reader that there can be. */
  const readAllSlowly = async (): Promise<readonly string[]> => {
    const seen: string[] = [];
    for (;;) {
      await eventually(async () => {
        if (outbox.length > 0) expect(await unread()).toBeGreaterThanOrEqual(96);
      }, PATIENT);
      expect(await unread()).toBeLessThanOrEqual(128);
      const more = await read(20);
      if (more.length === 0 && outbox.length === 0) return seen;
      seen.push(...more);
    }
  };

  test('500 of them, queued while Redis is away, all reach a slow manager, in order', async () => {
    await makeGroup();
    await publish(0, 1);
    await whenEmpty();
    expect(await read(10)).toEqual(['0']);
    await server.kill();
    await publish(1, 500);
    expect(outbox.length).toBe(500);
    await server.resume();
    await eventually(makeGroup, PATIENT);
    expect(await readAllSlowly()).toEqual(numbers(500).map((index) => String(index + 1)));
  }, 120_000);

  test('a burst from two nodes at once loses nothing', async () => {
    await makeGroup();
    const first = outbox;
    const other = await mkdtemp(join(tmpdir(), 'splenium-pace-'));
    opened.defer('directory of the other', () => rm(other, { recursive: true, force: true }));
    const second = await open(other);
    opened.defer('other outbox', () => second.close(0));
    await Promise.all(
      numbers(200).flatMap((index) => [
        first.publish(AGENT, ended(index, `a${String(index)}`)),
        second.publish(AGENT, ended(index, `b${String(index)}`)),
      ]),
    );
    const seen: string[] = [];
    while (seen.length < 400) {
      await eventually(async () => {
        if (first.length + second.length > 0) expect(await unread()).toBeGreaterThanOrEqual(96);
      }, PATIENT);
      expect(await unread()).toBeLessThanOrEqual(128);
      seen.push(...(await read(20)));
    }
    for (const node of ['a', 'b'])
      expect(seen.filter((reason) => reason.startsWith(node))).toEqual(
        numbers(200).map((index) => `${node}${String(index)}`),
      );
  }, 120_000);

  test('a manager that works as usual gets them all, and heartbeats between', async () => {
    const seen: string[] = [];
    const consumer = await EventConsumer.open(server.port, {
      onAnycast: ({ name, args }) => seen.push(name === 'kernel_terminated' ? String(args[2]) : name),
      onBroadcast: () => undefined,
    });
    opened.defer('consumer', () => consumer.close());
    await publish(0, 300);
    await outbox.publish(AGENT, heartbeat);
    await eventually(() => {
      expect(seen).toContain('agent_status_heartbeat');
      expect(seen).toHaveLength(301);
    }, PATIENT);
    expect(seen.filter((reason) => reason !== 'agent_status_heartbeat')).toEqual(numbers(300).map(String));
    expect(consumer.defects).toEqual([]);
  }, 90_000);

  test('heartbeats go on while lifecycle events wait, and push none of them out', async () => {
    await makeGroup();
    await publish(0, 150);
    await eventually(async () => {
      expect(await unread()).toBe(96);
    }, PATIENT);
    for (const beat of [1, 2]) {
      await outbox.publish(AGENT, heartbeat);
      await eventually(async () => {
        expect(await unread()).toBe(96 + beat);
      }, PATIENT);
    }
    while ((await unread()) < 124) await manager.xadd('events', '*', 'name', 'of others');
    // There is no more room: the last heartbeat waits, and the next one takes its place.
    const waiting = outbox.length;
    for (let beat = 0; beat < 20; beat += 1) await outbox.publish(AGENT, heartbeat);
    expect(outbox.length).toBeLessThanOrEqual(waiting + 2);
    const seen = await readAllSlowly();
    expect(seen.filter((reason) => /^\d+$/.test(reason))).toEqual(numbers(150).map(String));
  }, 120_000);

  test('after a restart of Redis with nothing in it, they wait for managers to make their group again', async () => {
    await makeGroup();
    await publish(0, 1);
    await whenEmpty();
    await server.kill();
    await publish(1, 3);
    await server.resume();
    // A heartbeat needs no group and makes the stream: events leave again.
    await outbox.publish(AGENT, heartbeat);
    await eventually(async () => {
      expect(await manager.xlen('events')).toBe(1);
    }, PATIENT);
    expect(outbox.length).toBe(3);
    await makeGroup();
    await whenEmpty();
    expect(await read(10)).toEqual(['1', '2', '3']);
  }, 90_000);

  test('without managers, ever, nothing waits', async () => {
    await publish(0, 300);
    await whenEmpty();
    expect(await manager.xlen('events')).toBeLessThan(300);
    expect(log.lines.filter(({ message }) => message.includes('manager'))).toEqual([]);
  }, 90_000);

  test('another group than that of managers neither counts nor is waited for', async () => {
    await manager.xgroup('CREATE', 'events', 'storage-proxy', '$', 'MKSTREAM');
    await publish(0, 200);
    await whenEmpty();
  }, 90_000);

  test('unread entries are counted where the server has no number for them', async () => {
    await publish(0, 5);
    await whenEmpty();
    const [, second] = await manager.xrange('events', '-', '+');
    await manager.xgroup('CREATE', 'events', 'manager', second?.[0] ?? '');
    const [group] = (await manager.xinfo('GROUPS', 'events')) as readonly (readonly unknown[])[];
    expect(group?.[group.indexOf('lag') + 1]).toBeNull();
    await publish(5, 200);
    expect(await readAllSlowly()).toEqual(numbers(203).map((index) => String(index + 2)));
  }, 90_000);

  test('where scripts are not allowed, they wait by the number that the server has', async () => {
    await manager.call('ACL', 'SETUSER', 'default', '-eval');
    await makeGroup();
    await publish(0, 200);
    expect(await readAllSlowly()).toEqual(numbers(200).map(String));
  }, 90_000);

  test('where neither scripts nor a look at groups are allowed, nothing waits', async () => {
    await makeGroup();
    await manager.call('ACL', 'SETUSER', 'default', '-eval', '-xinfo');
    await publish(0, 200);
    await whenEmpty();
  }, 90_000);

  test('one that is too large for Redis is given up by name, and those behind it arrive', async () => {
    await publish(0, 1);
    await outbox.publish(AGENT, ended(1, 'x'.repeat(2 * 1024 * 1024)));
    await publish(2, 1);
    await whenEmpty();
    expect(await manager.xlen('events')).toBe(2);
    expect(log.lines).toContainEqual(
      expect.objectContaining({
        level: 'error',
        fields: expect.objectContaining({ event: 'kernel_terminated', agentId: AGENT }) as unknown,
      }),
    );
  }, 90_000);

  test('a full server is no reason to give up an event', async () => {
    await manager.config('SET', 'maxmemory', '1');
    await publish(0, 2);
    await eventually(() => {
      expect(outbox.failure).toMatch(/OOM/);
    }, PATIENT);
    expect(outbox.length).toBe(2);
    await manager.config('SET', 'maxmemory', '0');
    await whenEmpty();
    expect(await manager.xlen('events')).toBe(2);
  }, 90_000);

  test('an event for a key of another type is given up, what is only broadcast arrives', async () => {
    await manager.set('events', 'no stream');
    await publish(0, 1);
    const taskId = '33333333-3333-4333-8333-333333333333';
    await outbox.publish(AGENT, { name: 'bgtask_done', taskId, message: null });
    await whenEmpty();
    expect(await manager.get(`bgtask.${taskId}`)).toContain('bgtask_done');
    expect(log.lines.filter(({ message }) => message.includes('refuses it for good'))).toHaveLength(1);
  }, 90_000);
});
