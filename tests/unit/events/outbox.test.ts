import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCodec } from '../../../src/codec/index.js';
import { type Clock, systemClock } from '../../../src/core/clock.js';
import { parseAgentId, parseKernelId, parseSessionId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import type { AgentEvent } from '../../../src/events/catalogue.js';
import { EventEncoder } from '../../../src/events/event-encoder.js';
import {
  type DeliveryNeeds,
  type DeliveryOutcome,
  ENTRY_REFUSED,
  type EventDelivery,
  type EventTransport,
} from '../../../src/events/event-transport.js';
import { Outbox, type OutboxLimits } from '../../../src/events/outbox.js';
import { OutboxLog } from '../../../src/events/outbox-log.js';
import { RecordedMetrics } from '../../support/callosum.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RecordedLog } from '../../support/recorded-log.js';

const AGENT = parseAgentId('i-one');
const SESSION = parseSessionId('22222222-2222-4222-8222-222222222222');
const kernel = (index: number) => parseKernelId(index.toString(16).padStart(32, '0'));
const preparing = (index: number): AgentEvent => ({
  name: 'kernel_preparing',
  kernelId: kernel(index),
  sessionId: SESSION,
  reason: String(index),
});
const report: AgentEvent = { name: 'execution_started', sessionId: SESSION };

/** Names of what arrived; can be away. */
class SwitchedTransport implements EventTransport {
  readonly arrived: string[] = [];
  readonly tokens: string[] = [];
  away = false;
  /** Tokens that are refused for good. */
  readonly refused = new Set<string>();
  /** What holds entries of the stream back; a group of managers is seen once it has been set. */
  held: 'unread' | 'no-group' | null = null;
  hasGroup: boolean | null = null;
  position = '';
  readonly needs: DeliveryNeeds[] = [];

  deliver(delivery: EventDelivery): Promise<DeliveryOutcome> {
    const { token, anycast, broadcast, unreadBelow, needsGroup } = delivery;
    if (this.away) return Promise.reject(new Error('away'));
    if (this.refused.has(token))
      return Promise.reject(Object.assign(new Error('too large'), { code: ENTRY_REFUSED }));
    this.needs.push({ unreadBelow, needsGroup });
    const { hasGroup, position } = this;
    // Room for reports is left where lifecycle events wait.
    const isHeld = this.held === 'unread' ? unreadBelow === 96 : this.held === 'no-group' && needsGroup;
    if (isHeld) return Promise.resolve({ held: this.held, hasGroup, position });
    this.tokens.push(token);
    const text = anycast?.map(([, value]) => value.toString()).join(' ') ?? '';
    if (anycast) this.arrived.push(`a:${/(kernel|execution|agent)_[a-z]+/.exec(text)?.[0] ?? ''}`);
    if (broadcast !== null) this.arrived.push(`b:${(JSON.parse(broadcast) as { name: string }).name}`);
    return Promise.resolve({ held: null, hasGroup, position });
  }
}

let directory: string;
let path: string;
let transport: SwitchedTransport;
let metrics: RecordedMetrics;
let logger: RecordedLog;
let clock: Clock;

const dropped = (event: string, importance: string, agent: string = AGENT) =>
  metrics.value('splenium_outbox_dropped_total', { agent, event, importance });

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-outbox-'));
  path = join(directory, 'outbox.log');
  transport = new SwitchedTransport();
  metrics = new RecordedMetrics();
  logger = new RecordedLog();
  clock = systemClock;
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function open(limits: Partial<OutboxLimits> = {}): Promise<Outbox> {
  const kept = await OutboxLog.open(path, silentLogger);
  return new Outbox({
    ...kept,
    encoder: new EventEncoder({ managerVersion: '25.17', codec: createCodec() }),
    transport,
    limits: { maxEvents: 1000, maxBytes: 1_000_000, maxAgeMs: 3_600_000, ...limits },
    clock,
    logger,
    metrics,
  });
}

test('both halves leave in order, the stream first', async () => {
  const outbox = await open();
  await outbox.publish(AGENT, preparing(1));
  await outbox.publish(AGENT, report);
  await outbox.close(20_000);
  expect(transport.arrived).toEqual(['a:kernel_preparing', 'b:kernel_preparing', 'a:execution_started']);
});

test('an event is on disk when publish resolves, and leaves after a crash', async () => {
  transport.away = true;
  const crashed = await open();
  await crashed.publish(AGENT, preparing(1));
  await crashed.publish(AGENT, report);
  expect(await readFile(path, 'utf8')).toContain('kernel_preparing');
  await crashed.close(0);

  transport.away = false;
  const restarted = await open();
  await eventually(() => {
    expect(transport.arrived).toEqual(['a:kernel_preparing', 'b:kernel_preparing']);
  });
  await restarted.close(20_000);
  const third = await open();
  expect(third.length).toBe(0);
  await third.close(0);
});

test('a store that is away delays and keeps the order', async () => {
  transport.away = true;
  const outbox = await open();
  for (const index of [1, 2, 3]) await outbox.publish(AGENT, preparing(index));
  expect(outbox.length).toBe(3);
  transport.away = false;
  await eventually(() => {
    expect(outbox.length).toBe(0);
  });
  expect(transport.arrived).toHaveLength(6);
  await outbox.close(20_000);
});

test('every attempt to deliver one event has the same token, also after a restart', async () => {
  transport.away = true;
  const crashed = await open();
  await crashed.publish(AGENT, preparing(1));
  await crashed.publish(AGENT, preparing(2), 'an occurrence');
  await crashed.close(0);
  const kept = (await readFile(path, 'utf8')).match(/"token":"[^"]+"/g);

  transport.away = false;
  const restarted = await open();
  await restarted.close(20_000);
  expect(transport.tokens.map((token) => `"token":"${token}"`)).toEqual(kept);
  expect(transport.tokens[1]).toBe('an occurrence');
});

describe('an occurrence is published once', () => {
  test('while the first one waits', async () => {
    transport.away = true;
    const outbox = await open();
    await outbox.publish(AGENT, preparing(1), 'end of kernel 1');
    await outbox.publish(AGENT, preparing(1), 'end of kernel 1');
    await outbox.publish(AGENT, preparing(1), 'another');
    expect(outbox.length).toBe(2);
    await outbox.close(0);
    const restarted = await open();
    await restarted.publish(AGENT, preparing(1), 'end of kernel 1');
    expect(restarted.length).toBe(2);
    await restarted.close(0);
  });

  test('after it was delivered, also by an earlier process', async () => {
    const first = await open();
    await first.publish(AGENT, preparing(1), 'end of kernel 1');
    await eventually(() => {
      expect(first.length).toBe(0);
    });
    await first.publish(AGENT, preparing(1), 'end of kernel 1');
    await first.close(20_000);
    for (let start = 0; start < 2; start += 1) {
      const later = await open();
      await later.publish(AGENT, preparing(1), 'end of kernel 1');
      await later.close(20_000);
    }
    expect(transport.tokens).toEqual(['end of kernel 1']);
  });
});

test('at the bound reports go first, lifecycle events only then and counted', async () => {
  transport.away = true;
  const outbox = await open({ maxEvents: 2 });
  await outbox.publish(AGENT, preparing(1));
  await outbox.publish(AGENT, report);
  await outbox.publish(AGENT, preparing(2));
  expect(dropped('execution_started', 'report')).toBe(1);
  await outbox.publish(AGENT, preparing(3));
  expect(dropped('kernel_preparing', 'lifecycle')).toBe(1);
  expect(outbox.length).toBe(2);
  await outbox.close(0);
});

test('many events share few syncs and none is lost', async () => {
  const outbox = await open({ maxEvents: 10_000, maxBytes: 100_000_000 });
  await Promise.all(Array.from({ length: 3000 }, (_, index) => outbox.publish(AGENT, preparing(index))));
  await outbox.close(60_000);
  expect(transport.arrived.filter((name) => name.startsWith('a:'))).toHaveLength(3000);
}, 90_000);

describe('the bounds', () => {
  const heartbeat: AgentEvent = { name: 'agent_status_heartbeat', containers: [], kernels: [] };
  const givenUp = () =>
    logger.lines.flatMap(({ level, message, fields }) =>
      level === 'error' && message.includes('given up') ? [fields] : [],
    );

  test('size counts bytes, and a lifecycle event that is given up is named in the log', async () => {
    transport.away = true;
    const outbox = await open({ maxBytes: 1000 });
    const long = (index: number): AgentEvent => ({
      name: 'kernel_pulling',
      kernelId: kernel(index),
      sessionId: SESSION,
      reason: 'x'.repeat(150),
    });
    await outbox.publish(AGENT, long(1));
    await outbox.publish(AGENT, report);
    expect(outbox.length).toBe(2);
    await outbox.publish(AGENT, long(2));
    expect(outbox.length).toBe(1);
    expect([dropped('execution_started', 'report'), dropped('kernel_pulling', 'lifecycle')]).toEqual([1, 1]);
    expect(givenUp()).toEqual([{ event: 'kernel_pulling', agentId: AGENT, bound: 'size' }]);
    await outbox.close(0);
  });

  test('one that is larger than the outbox is refused where it is published and does not come back', async () => {
    transport.away = true;
    const outbox = await open({ maxBytes: 1000 });
    const tooLong = outbox.publish(AGENT, {
      name: 'kernel_pulling',
      kernelId: kernel(1),
      sessionId: SESSION,
      reason: 'x'.repeat(2000),
    });
    await expect(tooLong).rejects.toMatchObject({
      code: 'EVENT_NOT_KEPT',
      details: { event: 'kernel_pulling' },
    });
    await outbox.close(0);
    const restarted = await open();
    expect(restarted.length).toBe(0);
    await restarted.close(0);
  });

  test('age counts also while nothing new comes', async () => {
    const manual = new ManualClock();
    clock = manual;
    transport.away = true;
    const outbox = await open({ maxAgeMs: 60_000 });
    await outbox.publish(AGENT, preparing(1));
    manual.advance(50_000);
    await outbox.publish(AGENT, preparing(2));
    manual.advance(11_000);
    // At the next attempt to deliver, by itself.
    await eventually(() => {
      manual.advance(1);
      expect(outbox.length).toBe(1);
    });
    expect(givenUp()).toEqual([{ event: 'kernel_preparing', agentId: AGENT, bound: 'age' }]);
    transport.away = false;
    await eventually(() => {
      manual.advance(5000);
      expect(transport.arrived).toHaveLength(2);
    });
    await outbox.close(0);
  });

  test('age counts over a restart', async () => {
    const manual = new ManualClock();
    clock = manual;
    transport.away = true;
    const crashed = await open({ maxAgeMs: 60_000 });
    await crashed.publish(AGENT, preparing(1));
    manual.advance(30_000);
    await crashed.publish(AGENT, preparing(2));
    await crashed.close(0);
    manual.advance(31_000);
    transport.away = false;
    const restarted = await open({ maxAgeMs: 60_000 });
    await restarted.close(20_000);
    expect(transport.tokens).toHaveLength(1);
    expect(givenUp()).toEqual([{ event: 'kernel_preparing', agentId: AGENT, bound: 'age' }]);
    expect(dropped('kernel_preparing', 'lifecycle')).toBe(1);
    const third = await open({ maxAgeMs: 60_000 });
    expect(third.length).toBe(0);
    await third.close(0);
  });

  test('what waits and what was delivered is counted for each agent', async () => {
    const other = parseAgentId('i-two');
    transport.away = true;
    const outbox = await open();
    await outbox.publish(AGENT, preparing(1));
    await outbox.publish(other, preparing(2));
    await outbox.publish(other, heartbeat);
    await outbox.publish(other, heartbeat);
    const waiting = (agent: string) => metrics.value('splenium_outbox_events', { agent });
    expect([waiting(AGENT), waiting(other)]).toEqual([1, 2]);
    transport.away = false;
    await outbox.close(20_000);
    expect([waiting(AGENT), waiting(other)]).toEqual([0, 0]);
    const delivered = (agent: string, event: string) =>
      metrics.value('splenium_outbox_delivered_total', { agent, event });
    expect([delivered(AGENT, 'kernel_preparing'), delivered(other, 'agent_status_heartbeat')]).toEqual([
      1, 1,
    ]);
  });

  test('an event that the store refuses for good holds up nothing and is named in the log', async () => {
    transport.refused.add('too large');
    const outbox = await open();
    await outbox.publish(AGENT, preparing(1));
    await outbox.publish(AGENT, preparing(2), 'too large');
    await outbox.publish(AGENT, preparing(3));
    await outbox.close(20_000);
    expect(transport.tokens).toHaveLength(2);
    expect(givenUp()).toEqual([{ event: 'kernel_preparing', agentId: AGENT, refusal: 'too large' }]);
    expect(dropped('kernel_preparing', 'lifecycle')).toBe(1);
    const restarted = await open();
    expect(restarted.length).toBe(0);
    await restarted.close(0);
  });
});

describe('while managers cannot get events', () => {
  const heartbeat: AgentEvent = { name: 'agent_status_heartbeat', containers: [], kernels: [] };
  let manual: ManualClock;
  beforeEach(() => {
    manual = new ManualClock();
    clock = manual;
  });
  /** Lets pass what the outbox sleeps, in steps that it sleeps through. */
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 1000) {
      manual.advance(1000);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const inVain = () => logger.lines.filter(({ message }) => message.includes('in vain'));

  test('lifecycle events wait, and heartbeats overtake them', async () => {
    transport.held = 'unread';
    const outbox = await open();
    await outbox.publish(AGENT, preparing(1));
    await outbox.publish(AGENT, heartbeat);
    await eventually(() => {
      manual.advance(1000);
      expect(transport.arrived).toEqual(['a:agent_status']);
    });
    transport.held = null;
    await eventually(() => {
      manual.advance(1000);
      expect(transport.arrived.slice(1)).toEqual(['a:kernel_preparing', 'b:kernel_preparing']);
    });
    await outbox.close(0);
  });

  test('with entries to read, they wait as long as managers read on, and at most an hour longer', async () => {
    Object.assign(transport, { held: 'unread', hasGroup: true, position: '1-0' });
    const outbox = await open({ maxAgeMs: 86_400_000 });
    await outbox.publish(AGENT, preparing(1));
    await pass(3_000_000);
    transport.position = '2-0';
    await pass(3_000_000);
    expect(inVain()).toEqual([]);
    expect(transport.arrived).toEqual([]);
    await eventually(async () => {
      await pass(60_000);
      expect(transport.arrived).toHaveLength(2);
    });
    expect(inVain()).toHaveLength(1);
    // As long as nobody reads, nothing waits any more.
    await outbox.publish(AGENT, preparing(2));
    await eventually(() => {
      expect(transport.arrived).toHaveLength(4);
    });
    transport.position = '3-0';
    await outbox.publish(AGENT, preparing(3));
    await eventually(() => {
      expect(transport.arrived).toHaveLength(6);
    });
    await outbox.publish(AGENT, preparing(4));
    await pass(10_000);
    expect(transport.arrived).toHaveLength(6);
    await outbox.close(0);
  }, 60_000);

  test('a group that was never seen is not waited for', async () => {
    transport.held = 'no-group';
    transport.hasGroup = false;
    const outbox = await open();
    await outbox.publish(AGENT, preparing(1));
    await outbox.close(20_000);
    expect(transport.arrived).toHaveLength(2);
  });

  test('a group that was seen, by an earlier process perhaps, is waited for, half a minute an absence', async () => {
    transport.hasGroup = true;
    const first = await open();
    await first.publish(AGENT, preparing(1));
    await first.close(20_000);
    Object.assign(transport, { held: 'no-group', hasGroup: false });
    for (let start = 0; start < 2; start += 1) await (await open()).close(0);
    const outbox = await open();
    await outbox.publish(AGENT, preparing(2));
    await outbox.publish(AGENT, preparing(3));
    await pass(20_000);
    expect(transport.arrived).toHaveLength(2);
    await eventually(async () => {
      await pass(1000);
      expect(transport.arrived).toHaveLength(6);
    });
    expect(inVain()).toHaveLength(1);

    transport.hasGroup = true;
    await outbox.publish(AGENT, preparing(4));
    await eventually(() => {
      expect(transport.arrived).toHaveLength(8);
    });
    transport.hasGroup = false;
    await outbox.publish(AGENT, preparing(5));
    await pass(20_000);
    expect(transport.arrived).toHaveLength(8);
    await outbox.close(0);
  });
});
