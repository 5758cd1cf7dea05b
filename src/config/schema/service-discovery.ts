import { isTable, listOf, mapOf, oneOf, parsePort, parseText } from '../formats.js';
import { expecting, optional } from '../parser.js';
import type { ServiceEndpointConfig } from '../types.js';
import { key, table } from './definition.js';

const ENDPOINT_KEYS = ['role', 'scope', 'address', 'port', 'protocol'];

const parseEndpoint = expecting(
  `a table with ${ENDPOINT_KEYS.join(', ')}`,
  (value: unknown): ServiceEndpointConfig => {
    if (!isTable(value)) throw new Error('expected a table');
    const missing = ENDPOINT_KEYS.filter((name) => !(name in value));
    if (missing.length > 0) throw new Error(`required, but absent: ${missing.join(', ')}`);
    const metadata = value['metadata'] ?? {};
    if (!isTable(metadata)) throw new Error('metadata: expected a table');
    return {
      role: parseText(value['role']),
      scope: parseText(value['scope']),
      address: parseText(value['address']),
      port: parsePort(value['port']),
      protocol: parseText(value['protocol']),
      metadata,
    };
  },
);

/** Spec/config-and-resources.md 1.7.12. */
export const serviceDiscovery = table('How Prometheus and other services find this one.', {
  type: key('Where the record of this process is kept', oneOf('redis', 'etcd'), 'redis'),
  'instance-id': key('Id in service events; unset: the id of the first agent', optional(parseText), null, {
    example: 'node1',
  }),
  'service-group': key(
    'Group in service events, for 26.9 managers; unset: none are sent',
    optional(parseText),
    null,
    { example: 'agent' },
  ),
  'display-name': key('Name for people in service events; unset: agent-<id>', optional(parseText), null, {
    example: 'Node 1',
  }),
  'extra-labels': key('Labels of the record and of service events', mapOf(parseText), {}),
  endpoints: key('What service events announce', listOf(parseEndpoint), []),
});
