import { Rounds } from '../../../src/stats/rounds.js';
import { eventually } from '../../support/eventually.js';
import { ManualClock } from '../../support/manual-clock.js';
import { RecordedLog } from '../../support/recorded-log.js';

test('a round without descriptors is told of once, and rounds go on when there are some again (L3)', async () => {
  const clock = new ManualClock(0);
  const log = new RecordedLog();
  const outcomes: (string | null)[] = [];
  let hasDescriptors = false;
  const rounds = new Rounds({
    name: 'a round',
    intervalMs: 1000,
    round: () => {
      if (hasDescriptors) return Promise.resolve();
      return Promise.reject(Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' }));
    },
    onRound: ({ error }) => outcomes.push(error),
    clock,
    logger: log,
  });
  const passed = (count: number) =>
    eventually(() => {
      clock.advance(1000);
      expect(outcomes.length).toBeGreaterThanOrEqual(count);
    });
  await passed(5);
  hasDescriptors = true;
  await passed(outcomes.length + 2);
  await rounds.stop();
  expect(outcomes.slice(0, 5)).toEqual(Array(5).fill('Error'));
  expect(outcomes.at(-1)).toBeNull();
  expect(log.lines.map(({ level }) => level)).toEqual(['warn', 'info']);
});
