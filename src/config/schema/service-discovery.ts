import { isTable, listOf, mapOf, oneOf, parsePort, parseText } from '../formats.js';
import { expecting, optional } from '../parser.js';
import { key, table, unused } from './definition.js';

const ENDPOINT_KEYS = ['role', 'scope', 'address', 'port', 'protocol'];

const parseEndpoint = expecting(`a table with ${ENDPOINT_KEYS.join(', ')}`, (value: unknown) => {
  if (!isTable(value)) throw new Error('expected a table');
  const missing = ENDPOINT_KEYS.filter((name) => !(name in value));
  if (missing.length > 0) throw new Error(`required, but absent: ${missing.join(', ')}`);
  parsePort(value['port']);
  return value;
});

/** Spec/config-and-resources.md 1.7.12. */
export const serviceDiscovery = table(
  'Service discovery of the original.',
  {
    type: key('Where services register', oneOf('redis', 'etcd'), 'redis', unused),
    'instance-id': key('Id of this instance', optional(parseText), null, { ...unused, example: 'node1' }),
    'service-group': key('Group of this service', optional(parseText), null, { ...unused, example: 'agent' }),
    'display-name': key('Name for people', optional(parseText), null, { ...unused, example: 'Node 1' }),
    'extra-labels': key('Further labels', mapOf(parseText), {}, unused),
    endpoints: key('What is announced', listOf(parseEndpoint), [], unused),
  },
  unused,
);
