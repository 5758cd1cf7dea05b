import type { DeviceMeasure } from '../resources/index.js';
import type { MetricShape } from './metric.js';

/** spec/events-and-stores.md 5.3. */
export const NODE_METRICS = {
  cpu_util: { unit: 'msec', hook: 'diff', filters: [] },
  disk: { unit: 'bytes', filters: [] },
  net_rx: { unit: 'bps', hook: 'rate', filters: [] },
  net_tx: { unit: 'bps', hook: 'rate', filters: [] },
} as const satisfies Record<string, MetricShape>;

/** spec/events-and-stores.md 5.4. */
export const KERNEL_METRICS = {
  cpu_util: { unit: 'percent', hook: 'rate', filters: ['avg', 'max'] },
  cpu_used: { unit: 'msec', filters: [] },
  mem: { unit: 'bytes', filters: ['max'] },
  io_read: { unit: 'bytes', filters: ['rate'] },
  io_write: { unit: 'bytes', filters: ['rate'] },
  net_rx: { unit: 'bps', hook: 'rate', filters: [] },
  net_tx: { unit: 'bps', hook: 'rate', filters: [] },
  io_scratch_size: { unit: 'bytes', filters: ['max'] },
} as const satisfies Record<string, MetricShape>;

/** spec/events-and-stores.md 5.5. */
export const PROCESS_METRICS = {
  cpu_util: { unit: 'percent', hook: 'rate', filters: ['avg', 'max'] },
  cpu_used: { unit: 'msec', filters: [] },
  mem: { unit: 'bytes', filters: ['max'] },
  io_read: { unit: 'bytes', filters: ['rate'] },
  io_write: { unit: 'bytes', filters: ['rate'] },
} as const satisfies Record<string, MetricShape>;

/** Devices say their unit; a unit that readers do not know is a plain number. */
export function deviceMetric(unit: DeviceMeasure['unit']): MetricShape {
  switch (unit) {
    case 'percent':
      return { unit, filters: ['avg', 'max'] };
    case 'bytes':
    case 'msec':
      return { unit, filters: ['max'] };
    case 'celsius':
    case 'watts':
      return { unit: 'count', filters: ['max'] };
  }
}
