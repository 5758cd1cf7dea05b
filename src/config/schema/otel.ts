import { integerFrom, parseBoolean, parseText } from '../formats.js';
import { key, table, unused } from './definition.js';

/** Spec/config-and-resources.md 1.7.12. */
export const otel = table(
  'OpenTelemetry of the original.',
  {
    enabled: key('Send traces and logs', parseBoolean, false, unused),
    'log-level': key('Lowest level that is sent', parseText, 'INFO', unused),
    endpoint: key('Collector', parseText, 'http://127.0.0.1:4317', unused),
    'max-queue-size': key('Spans that wait', integerFrom(1), 65_536, unused),
    'max-export-batch-size': key('Spans sent at once', integerFrom(1), 4096, unused),
  },
  unused,
);
