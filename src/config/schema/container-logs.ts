import { oneOf } from '../formats.js';
import { parseSizeBytes } from '../size.js';
import { key, table } from './definition.js';

/** Spec/config-and-resources.md 1.7.7. */
export const containerLogs = table('Logs of containers.', {
  'max-length': key('Log kept of one container', parseSizeBytes, '10M', { unit: 'bytes' }),
  'chunk-size': key('Log sent at once', parseSizeBytes, '64K', { unit: 'bytes' }),
  driver: key('Log driver of Docker', oneOf('local', 'json-file'), 'local'),
});
