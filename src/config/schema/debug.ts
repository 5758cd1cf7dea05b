import { integerFrom, parseBoolean, parseNonEmptyText, parsePositive } from '../formats.js';
import { parseSizeBytes } from '../size.js';
import { key, table, unused } from './definition.js';

/** Spec/config-and-resources.md 1.7.10. */
export const debug = table('For developers.', {
  enabled: key('Errors show file paths; --debug and --log-level win', parseBoolean, false),
  asyncio: key('Event loop debugging of the original', parseBoolean, false, unused),
  'kernel-runner': key('Kernel runners log in detail', parseBoolean, false),
  'enhanced-aiomonitor-task-info': key('Task details of the original', parseBoolean, false, unused),
  'skip-container-deletion': key('Keep containers of ended kernels', parseBoolean, false),
  'log-stats': key('Log statistics', parseBoolean, false),
  'log-kernel-config': key('Log the configuration of new kernels', parseBoolean, false),
  'log-alloc-map': key('Log allocations', parseBoolean, false),
  'log-events': key('Log events', parseBoolean, false),
  'log-heartbeats': key('Log heartbeats', parseBoolean, false),
  'log-docker-events': key('Log events of Docker', parseBoolean, false),
  'heartbeat-interval': key('Time between heartbeats', parsePositive, 20, { unit: 's' }),
  coredump: table('Core dumps of kernels; only on Linux with an absolute core pattern.', {
    enabled: key('Collect core dumps', parseBoolean, false),
    path: key('Where they are collected', parseNonEmptyText, './coredumps'),
    'backup-count': key('Dumps kept', integerFrom(1), 10),
    'size-limit': key('Largest dump', parseSizeBytes, '64M', { unit: 'bytes' }),
  }),
});
