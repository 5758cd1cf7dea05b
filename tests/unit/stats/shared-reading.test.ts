import { deferred, type Deferred } from '../../../src/core/async.js';
import { Rounds } from '../../../src/stats/rounds.js';
import { SharedReading } from '../../../src/stats/shared-reading.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RecordedLog } from '../../support/recorded-log.js';

describe('a reading for several', () => {
  let clock: ManualClock;
  let readings: Deferred<string>[];
  let shared: SharedReading<string>;
  beforeEach(() => {
    clock = new ManualClock(0);
    readings = [];
    shared = new SharedReading(() => {
      const reading = deferred<string>();
      readings.push(reading);
      return reading.promise;
    }, clock);
  });

  test('one that runs is joined, however long it takes', async () => {
    const first = shared.take(10);
    clock.advance(1000);
    const second = shared.take(10);
    readings[0]?.resolve('a');
    expect(await Promise.all([first, second])).toEqual(['a', 'a']);
    expect(readings).toHaveLength(1);
  });

  test('a young one serves again, an old one does not', async () => {
    const first = shared.take(10);
    readings[0]?.resolve('a');
    await first;
    clock.advance(9);
    expect(await shared.take(10)).toBe('a');
    clock.advance(1);
    const next = shared.take(10);
    readings[1]?.resolve('b');
    expect(await next).toBe('b');
  });

  test('one that failed serves nobody who comes later', async () => {
    const first = shared.take(10);
    readings[0]?.reject(new Error('away'));
    await expect(first).rejects.toThrow('away');
    const next = shared.take(10);
    readings[1]?.resolve('b');
    expect(await next).toBe('b');
  });
});

test('rounds on the grid that begin apart meet at the same moments, and leave out those that pass meanwhile', async () => {
  const clock = new ManualClock(0);
  const begun: Record<string, number[]> = { a: [], b: [] };
  const slow = deferred<void>();
  const start = (name: string) =>
    new Rounds({
      name,
      intervalMs: 1000,
      onGrid: true,
      round: () => {
        begun[name]?.push(clock.monotonicMs());
        return name === 'b' && clock.monotonicMs() === 3000 ? slow.promise : Promise.resolve();
      },
      clock,
      logger: new RecordedLog(),
    });
  const until = (ms: number, expected: Record<string, readonly number[]>) =>
    eventually(() => {
      if (clock.monotonicMs() < ms) clock.advance(50);
      expect(clock.monotonicMs()).toBe(ms);
      expect(begun).toEqual(expected);
    });
  const a = start('a');
  await until(250, { a: [], b: [] });
  const b = start('b');
  await until(2000, { a: [500, 1000, 2000], b: [750, 1000, 2000] });
  await until(5000, { a: [500, 1000, 2000, 3000, 4000, 5000], b: [750, 1000, 2000, 3000] });
  slow.resolve();
  await slow.promise;
  await until(6000, { a: [500, 1000, 2000, 3000, 4000, 5000, 6000], b: [750, 1000, 2000, 3000, 6000] });
  await Promise.all([a.stop(), b.stop()]);
});
