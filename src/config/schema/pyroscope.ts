import { parseBoolean, parseInteger, parseText } from '../formats.js';
import { optional } from '../parser.js';
import { key, table, unused } from './definition.js';

/** Spec/config-and-resources.md 1.7.12. */
export const pyroscope = table(
  'Profiling of the original.',
  {
    enabled: key('Send profiles', parseBoolean, false, unused),
    'app-name': key('Name of the application', optional(parseText), null, { ...unused, example: 'agent' }),
    'server-addr': key('Server', optional(parseText), null, { ...unused, example: 'http://127.0.0.1:4040' }),
    'sample-rate': key('Samples a second', optional(parseInteger), null, { ...unused, example: 100 }),
  },
  unused,
);
