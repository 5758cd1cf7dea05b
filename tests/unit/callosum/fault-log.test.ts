import { FaultLog } from '../../../src/callosum/fault-log.js';
import { silentLogger } from '../../../src/core/logger.js';
import type { LogFields } from '../../../src/core/logger.js';

test('of every kind the first, second, fourth, ... fault is logged', () => {
  const lines: LogFields[] = [];
  const faults = new FaultLog({
    ...silentLogger,
    warn: (_message, fields = {}) => {
      lines.push(fields);
    },
  });
  for (let i = 0; i < 10; i++) faults.warn('refused', 'key', { address: 'a' });
  faults.warn('refused', 'mechanism');
  expect(lines).toEqual([
    ...[1, 2, 4, 8].map((count) => ({ address: 'a', reason: 'key', count })),
    { reason: 'mechanism', count: 1 },
  ]);
});
