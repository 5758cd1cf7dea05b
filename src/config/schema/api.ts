import { parseNonNegative } from '../formats.js';
import { optional } from '../parser.js';
import { key, table } from './definition.js';

const seconds = { unit: 's' };

/** Spec/config-and-resources.md 1.7.8. */
export const api = table('Limits of long image operations.', {
  'pull-timeout': key('Pull of an image', optional(parseNonNegative), 7200, seconds),
  'commit-timeout': key('Commit of a container; unset: no limit', optional(parseNonNegative), null, {
    ...seconds,
    example: 3600,
  }),
  'push-timeout': key('Push of an image; unset: no limit', optional(parseNonNegative), null, {
    ...seconds,
    example: 3600,
  }),
});
