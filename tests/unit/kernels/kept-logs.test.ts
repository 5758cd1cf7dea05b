import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asContainerId, parseAgentId, parseKernelId } from '../../../src/core/ids.js';
import { KeptLogs, type LogStore } from '../../../src/kernels/kept-logs.js';
import type { LogOwner } from '../../../src/kernels/lifecycle/parts.js';
import type { LogShelfLimits } from '../../../src/kernels/log-shelf.js';
import { PrometheusMetrics } from '../../../src/observe/index.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RecordedEvents } from '../../support/recorded-events.js';
import { RecordedLog } from '../../support/recorded-log.js';

const AGENT = parseAgentId('i-one');
const owner = (number: number): LogOwner => ({
  agentId: AGENT,
  kernelId: parseKernelId(`00000000-0000-4000-8000-${String(number).padStart(12, '0')}`),
  containerId: asContainerId(`c-${String(number)}`),
});
const LIMITS: LogShelfLimits = { maxLogs: 10, maxBytes: 1000, maxAgeMs: 3_600_000 };
/** Not text, so that a detour over text would show. */
const bytesOf = (number: number, length = 10) => new Uint8Array(length).fill(200 + number);

/** A store that can be away, or refuse single containers. */
class SwitchedStore implements LogStore {
  readonly chunkBytes = 4;
  readonly maxBytes = 1000;
  readonly stored = new Map<string, Buffer>();
  readonly refused = new Set<string>();
  attempts = 0;
  away = false;

  store(containerId: string, chunks: readonly Uint8Array[]): Promise<void> {
    this.attempts += 1;
    if (this.away || this.refused.has(containerId)) return Promise.reject(new Error('away'));
    for (const chunk of chunks.slice(0, -1)) expect(chunk).toHaveLength(this.chunkBytes);
    this.stored.set(containerId, Buffer.concat(chunks));
    return Promise.resolve();
  }
}

let directory: string;
let store: SwitchedStore;
let events: RecordedEvents;
let clock: ManualClock;
let log: RecordedLog;
let metrics: PrometheusMetrics;
let opened: KeptLogs[];

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'splenium-logs-')), 'kept');
  store = new SwitchedStore();
  events = new RecordedEvents();
  clock = new ManualClock();
  log = new RecordedLog();
  metrics = new PrometheusMetrics();
  opened = [];
});
afterEach(async () => {
  for (const one of opened) await one.close();
  await rm(join(directory, '..'), { recursive: true, force: true });
});

const open = async (limits: Partial<LogShelfLimits> = {}): Promise<KeptLogs> => {
  const kept = await KeptLogs.open({
    directory,
    limits: { ...LIMITS, ...limits },
    store,
    events,
    clock,
    logger: log,
    metrics,
  });
  opened.push(kept);
  return kept;
};
const files = () => readdir(directory);
const told = () => events.named('do_sync_kernel_logs').map(({ containerId }) => containerId);
/** Goes on with the clock until this holds. */
const later = (check: () => void | Promise<void>) =>
  eventually(async () => {
    clock.advance(1000);
    await check();
  });
const lost = async (reason: string): Promise<string | undefined> =>
  new RegExp(`splenium_kept_logs_dropped_total\\{agent="i-one",reason="${reason}"\\} (\\d+)`).exec(
    await metrics.text(),
  )?.[1];

test('a log goes straight to its store, and nothing is left on disk', async () => {
  const logs = await open();
  expect(await logs.store(owner(1), [bytesOf(1)])).toBe('stored');
  expect(store.stored.get('c-1')).toEqual(Buffer.from(bytesOf(1)));
  expect(await files()).toEqual([]);
  expect(told()).toEqual([]);
});

test('logs that end while the store is away are on disk, leave when it is back, and are told of then', async () => {
  const logs = await open();
  store.away = true;
  for (const number of [1, 2, 3])
    expect(await logs.store(owner(number), [bytesOf(number, 4), bytesOf(number, 6)])).toBe('kept');
  expect(await files()).toHaveLength(3);
  for (const name of await files()) expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
  // The end of a kernel does not wait for a store that is known to be away.
  expect(store.attempts).toBeLessThanOrEqual(2);
  expect(await metrics.text()).toContain('splenium_kept_logs_bytes{agent="i-one"} 30');
  expect(told()).toEqual([]);
  store.away = false;
  await later(() => {
    expect(told()).toEqual(['c-1', 'c-2', 'c-3']);
  });
  for (const number of [1, 2, 3])
    expect(store.stored.get(`c-${String(number)}`)).toEqual(Buffer.from(bytesOf(number)));
  await later(async () => {
    expect(await files()).toEqual([]);
    expect(await metrics.text()).toContain('splenium_kept_logs_bytes{agent="i-one"} 0');
  });
  await later(async () => {
    expect(await logs.store(owner(4), [bytesOf(4)])).toBe('stored');
  });
});

test('a later process hands over what an earlier one could not, and clears away what it left half written', async () => {
  const logs = await open();
  store.away = true;
  await logs.store(owner(1), [bytesOf(1)]);
  await logs.store(owner(2), [bytesOf(2)]);
  await logs.close();
  await writeFile(join(directory, '1-x.log.y.tmp'), 'half');
  await writeFile(join(directory, '2-x.log'), 'no header at all');
  store.away = false;
  await open();
  await later(async () => {
    expect(told()).toEqual(['c-1', 'c-2']);
    expect(await files()).toEqual([]);
  });
  expect(log.lines).toContainEqual(
    expect.objectContaining({ level: 'error', message: 'a kept log cannot be read and is removed' }),
  );
});

test('one that the store refuses holds up no other', async () => {
  const logs = await open();
  store.refused.add('c-1');
  for (const number of [1, 2, 3]) await logs.store(owner(number), [bytesOf(number)]);
  await later(() => {
    expect(told()).toEqual(['c-2', 'c-3']);
  });
  expect(await files()).toHaveLength(1);
});

test('an event that cannot be published leaves the log where it is', async () => {
  const logs = await open();
  store.away = true;
  await logs.store(owner(1), [bytesOf(1)]);
  const publish = events.publish.bind(events);
  let refusals = 0;
  events.publish = (...args) => {
    refusals += 1;
    return refusals < 3 ? Promise.reject(new Error('no room')) : publish(...args);
  };
  store.away = false;
  await later(() => {
    expect(told()).toEqual(['c-1']);
  });
  expect(refusals).toBe(3);
});

test('one container has one log: the later', async () => {
  const logs = await open();
  store.away = true;
  await logs.store(owner(1), [bytesOf(1)]);
  await logs.store(owner(1), [bytesOf(2)]);
  expect(await files()).toHaveLength(1);
  store.away = false;
  await later(() => {
    expect(told()).toEqual(['c-1']);
  });
  expect(store.stored.get('c-1')).toEqual(Buffer.from(bytesOf(2)));
});

describe('at a bound the oldest is given up, by name and in a metric', () => {
  const keep = async (limits: Partial<LogShelfLimits>, lengths: readonly number[]) => {
    const logs = await open(limits);
    store.away = true;
    for (const [index, length] of lengths.entries()) {
      await logs.store(owner(index + 1), [bytesOf(index + 1, length)]);
      clock.advance(1);
    }
    return logs;
  };
  const givenUp = () =>
    log.lines
      .filter(({ level }) => level === 'error')
      .map(({ fields }) => [fields['kernelId'], fields['reason']]);

  test('of number', async () => {
    await keep({ maxLogs: 2 }, [10, 10, 10]);
    expect(await files()).toHaveLength(2);
    expect(givenUp()).toEqual([[owner(1).kernelId, 'count']]);
    expect(await lost('count')).toBe('1');
  });

  test('of size', async () => {
    await keep({ maxBytes: 100 }, [40, 40, 90]);
    expect(await files()).toHaveLength(1);
    expect(givenUp()).toEqual([
      [owner(1).kernelId, 'size'],
      [owner(2).kernelId, 'size'],
    ]);
    expect(await lost('size')).toBe('2');
  });

  test('of size, also when several end at the same moment', async () => {
    const logs = await open({ maxBytes: 100 });
    store.away = true;
    await Promise.all([1, 2, 3, 4].map((number) => logs.store(owner(number), [bytesOf(number, 40)])));
    let bytes = 0;
    for (const name of await files())
      bytes += (await readFile(join(directory, name))).filter((b) => b > 199).length;
    expect(bytes).toBe(80);
  });

  test('one that alone is too large is refused, and the others stay', async () => {
    const logs = await keep({ maxBytes: 100 }, [40]);
    await expect(logs.store(owner(2), [bytesOf(2, 101)])).rejects.toThrow('101 bytes');
    expect(await files()).toHaveLength(1);
  });

  test('of age', async () => {
    await keep({}, [10]);
    clock.advance(LIMITS.maxAgeMs);
    await later(async () => {
      expect(await files()).toEqual([]);
    });
    expect(givenUp()).toEqual([[owner(1).kernelId, 'age']]);
    expect(await lost('age')).toBe('1');
  });
});
