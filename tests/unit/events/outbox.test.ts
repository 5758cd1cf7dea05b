import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCodec } from '../../../src/codec/index.js';
import { systemClock } from '../../../src/core/clock.js';
import { parseAgentId, parseKernelId, parseSessionId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import type { AgentEvent } from '../../../src/events/catalogue.js';
import { EventEncoder } from '../../../src/events/event-encoder.js';
import type { EventDelivery, EventTransport } from '../../../src/events/event-transport.js';
import { Outbox, type OutboxLimits } from '../../../src/events/outbox.js';
import { OutboxLog } from '../../../src/events/outbox-log.js';
import { RecordedMetrics } from '../../support/callosum.js';
import { eventually } from '../../support/eventually.js';

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

  deliver({ token, anycast, broadcast }: EventDelivery): Promise<void> {
    if (this.away) return Promise.reject(new Error('away'));
    this.tokens.push(token);
    const text = anycast?.map(([, value]) => value.toString()).join(' ') ?? '';
    if (anycast) this.arrived.push(`a:${/(kernel|execution|agent)_[a-z]+/.exec(text)?.[0] ?? ''}`);
    if (broadcast !== null) this.arrived.push(`b:${(JSON.parse(broadcast) as { name: string }).name}`);
    return Promise.resolve();
  }
}

let directory: string;
let path: string;
let transport: SwitchedTransport;
let metrics: RecordedMetrics;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'splenium-outbox-'));
  path = join(directory, 'outbox.log');
  transport = new SwitchedTransport();
  metrics = new RecordedMetrics();
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function open(limits: Partial<OutboxLimits> = {}): Promise<Outbox> {
  const { log, entries, delivered } = await OutboxLog.open(path, silentLogger);
  return new Outbox({
    delivered,
    encoder: new EventEncoder({ managerVersion: '25.17', codec: createCodec() }),
    transport,
    log,
    entries,
    limits: { maxEvents: 1000, maxBytes: 1_000_000, maxAgeMs: 3_600_000, ...limits },
    clock: systemClock,
    logger: silentLogger,
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
  expect(
    metrics.value('splenium_outbox_dropped_total', { event: 'execution_started', importance: 'report' }),
  ).toBe(1);
  await outbox.publish(AGENT, preparing(3));
  expect(
    metrics.value('splenium_outbox_dropped_total', { event: 'kernel_preparing', importance: 'lifecycle' }),
  ).toBe(1);
  expect(outbox.length).toBe(2);
  await outbox.close(0);
});

test('many events share few syncs and none is lost', async () => {
  const outbox = await open({ maxEvents: 10_000, maxBytes: 100_000_000 });
  await Promise.all(Array.from({ length: 3000 }, (_, index) => outbox.publish(AGENT, preparing(index))));
  await outbox.close(60_000);
  expect(transport.arrived.filter((name) => name.startsWith('a:'))).toHaveLength(3000);
}, 90_000);
