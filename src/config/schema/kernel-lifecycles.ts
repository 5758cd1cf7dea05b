import { integerFrom, parseNonNegative } from '../formats.js';
import { key, table } from './definition.js';

/** Spec/config-and-resources.md 1.7.9. */
export const kernelLifecycles = table('Waiting for a new kernel runner.', {
  'init-polling-attempt': key('Attempts to reach it', integerFrom(1), 10),
  'init-polling-timeout-sec': key('Time for one attempt', parseNonNegative, 60, { unit: 's' }),
  'init-timeout-sec': key('Time for all attempts', parseNonNegative, 60, { unit: 's' }),
});
