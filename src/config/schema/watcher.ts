import { parseBoolean, parseNonEmptyText, parseText } from '../formats.js';
import { parseHostPort } from '../host-port.js';
import { optional } from '../parser.js';
import { key, table, unused } from './definition.js';

const file = optional(parseNonEmptyText);

/** Spec/config-and-resources.md 1.7.13: a daemon of its own; only its port matters here, published for managers. */
export const watcher = table(
  'The watcher beside this agent.',
  {
    'service-addr': key('Its address', parseHostPort, '0.0.0.0:6009'),
    'ssl-enabled': key('TLS', parseBoolean, false, unused),
    'ssl-cert': key('Certificate file', file, null, { ...unused, example: './ssl/watcher.crt' }),
    'ssl-key': key('Key file', file, null, {
      ...unused,
      aliases: ['ssl-privkey'],
      example: './ssl/watcher.key',
    }),
    'target-service': key('Unit it restarts', parseText, 'backendai-agent.service', unused),
    'soft-reset-available': key('Whether it may reload', parseBoolean, false, unused),
  },
  { optional: true },
);
