import { TransferReport } from '../../../src/agent/transfer-report.js';
import { ManualClock } from '../../support/manual-clock.js';

function reporting(report?: () => Promise<void>) {
  const clock = new ManualClock();
  const told: unknown[] = [];
  const transfer = new TransferReport({
    clock,
    intervalMs: 1000,
    report: async (...progress) => {
      await report?.();
      told.push(progress);
    },
  });
  const move = (current: number) => {
    transfer.listener({ current, total: 100, message: 'layer' });
  };
  return { clock, told, transfer, move };
}

test('the first is told at once, then one an interval, and the last one always', async () => {
  const { clock, told, transfer, move } = reporting();
  for (let current = 1; current <= 50; current += 1) move(current);
  clock.advance(999);
  move(51);
  clock.advance(1);
  move(52);
  move(53);
  await transfer.finish();
  expect(told).toEqual([
    [1, 100, 'layer'],
    [52, 100, 'layer'],
    [53, 100, 'layer'],
  ]);
});

test('a transfer without progress tells nothing', async () => {
  const { told, transfer } = reporting();
  await transfer.finish();
  expect(told).toEqual([]);
});

test('a report that cannot be told harms nobody', async () => {
  const { told, transfer, move } = reporting(() => Promise.reject(new Error('disk full')));
  move(1);
  move(2);
  await transfer.finish();
  expect(told).toEqual([]);
});
