import {
  integerFrom,
  listOf,
  mapOf,
  oneOf,
  parseBoolean,
  parseInteger,
  parseLevel,
  parseNonEmptyText,
  parsePort,
  parseTable,
  parseText,
} from '../formats.js';
import { parseHostPort } from '../host-port.js';
import { optional } from '../parser.js';
import { parseDecimalSizeBytes } from '../size.js';
import { key, table, unused } from './definition.js';

const style = oneOf('simple', 'verbose');

/** Spec/config-and-resources.md 1.7.11. */
export const logging = table('What is logged, and where.', {
  version: key('Version of the format', parseInteger, 1, unused),
  'disable-existing-loggers': key('Setting of the original’s logging', parseBoolean, false, unused),
  handlers: key('Setting of the original’s logging', parseTable, {}, unused),
  loggers: key('Setting of the original’s logging', parseTable, {}, unused),
  level: key('Lowest level that is logged; --log-level wins', parseLevel, 'INFO'),
  drivers: key('Where logs go', listOf(oneOf('console', 'logstash', 'file', 'graylog')), ['console']),
  'pkg-ns': key('Level by dotted name prefix; replaced as a whole', optional(mapOf(parseLevel)), {
    '': 'WARNING',
    'ai.backend': 'INFO',
    tests: 'DEBUG',
  }),
  console: table('The console driver.', {
    colored: key('Colours; unset: on a terminal', optional(parseBoolean), null, { example: true }),
    format: key('Detail of a line', style, 'verbose'),
  }),
  file: table(
    'The file driver.',
    {
      path: key('Directory', parseNonEmptyText, null, { required: true, example: './logs' }),
      filename: key('File name', parseNonEmptyText, null, { required: true, example: 'agent.log' }),
      'backup-count': key('Rotated files kept', integerFrom(0), 5),
      'rotation-size': key('Size at which it rotates', parseDecimalSizeBytes, '10M', { unit: 'bytes' }),
      format: key('Detail of a line', style, 'verbose'),
    },
    { optional: true },
  ),
  logstash: table(
    'The Logstash driver.',
    {
      endpoint: key('Address', parseHostPort, null, { ...unused, required: true, example: '127.0.0.1:8001' }),
      protocol: key('Protocol', oneOf('zmq.push', 'zmq.pub', 'tcp', 'udp'), 'tcp', unused),
      'ssl-enabled': key('TLS', parseBoolean, true, unused),
      'ssl-verify': key('Verify the certificate', parseBoolean, true, unused),
    },
    { optional: true, unused: true },
  ),
  graylog: table(
    'The Graylog driver.',
    {
      host: key('Host', parseText, null, { ...unused, required: true, example: '127.0.0.1' }),
      port: key('Port', parsePort, null, { ...unused, required: true, example: 8080 }),
      level: key('Lowest level that is sent', parseLevel, 'INFO', unused),
      localname: key('Name of this host', optional(parseText), null, { ...unused, example: 'node1' }),
      fqdn: key('Full name of this host', optional(parseText), null, {
        ...unused,
        example: 'node1.example.org',
      }),
      'ssl-verify': key('Verify the certificate', parseBoolean, true, unused),
      'ca-certs': key('CA file', optional(parseText), null, { ...unused, example: './ca.pem' }),
      keyfile: key('Key file', optional(parseText), null, { ...unused, example: './graylog.key' }),
      certfile: key('Certificate file', optional(parseText), null, { ...unused, example: './graylog.crt' }),
    },
    { optional: true, unused: true },
  ),
});
