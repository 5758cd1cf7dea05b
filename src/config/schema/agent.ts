import {
  integerBetween,
  oneOf,
  parseBoolean,
  parseNonEmptyText,
  parseNonNegative,
  parsePort,
  parsePositive,
  parseText,
  setOf,
} from '../formats.js';
import { parseHostPort, parseRpcListenAddress } from '../host-port.js';
import { optional } from '../parser.js';
import { key, perAgent, table, unused } from './definition.js';

const text = optional(parseText);
const file = optional(parseNonEmptyText);
const plugins = optional(setOf(parseText));

/** Spec/config-and-resources.md 1.7.1 and 1.7.2. */
export const agent = table('The daemon as a whole, and what an agent is called and may do.', {
  backend: key('What runs kernels', oneOf('process', 'docker', 'kubernetes', 'dummy'), 'process', {
    aliases: ['mode'],
    required: true,
    sample: 'process',
  }),
  'rpc-listen-addr': key(
    'Where managers connect; an empty host is detected',
    parseRpcListenAddress,
    '0.0.0.0:6001',
    { sample: '127.0.0.1:6001' },
  ),
  'advertised-rpc-addr': key(
    'Address told to managers instead of the one listened on',
    optional(parseHostPort),
    null,
    { example: '10.0.0.5:6001' },
  ),
  'service-addr': key(
    'Internal HTTP address for /health and /metrics; served when written here or as splenium.http-addr',
    parseHostPort,
    '0.0.0.0:6003',
    { aliases: ['internal-addr'] },
  ),
  'announce-addr': key(
    'Internal HTTP address published to service discovery',
    parseHostPort,
    'host.docker.internal:6003',
    { aliases: ['announce-internal-addr'] },
  ),
  'ssl-enabled': key('TLS of the internal HTTP server', parseBoolean, false),
  'ssl-cert': key('Certificate file of the internal HTTP server, PEM, with its chain', file, null, {
    example: './ssl/agent.crt',
  }),
  'ssl-key': key('Key file of the internal HTTP server, PEM', file, null, {
    aliases: ['ssl-privkey'],
    example: './ssl/agent.key',
  }),
  'rpc-auth-agent-keypair': key(
    'Secret CURVE key file of the agent (mode 0600); its presence switches CURVE on',
    file,
    null,
    { file: true, example: './keys/agent.key_secret' },
  ),
  'rpc-auth-manager-public-key': key('Public CURVE key file of the manager', file, null, {
    file: true,
    example: './keys/manager.key',
  }),
  'ipc-base-path': key('Directory of local sockets', parseNonEmptyText, '/tmp/backend.ai/ipc'),
  'var-base-path': key('Directory of the original’s snapshots', parseNonEmptyText, './var/lib/backend.ai'),
  'mount-path': key('Root of volume mounts; unset: the working directory', file, null, { example: '/mnt' }),
  'mount-path-uid-gid': key('Owner of freshly mounted volumes', text, null, { example: '1000:1000' }),
  'cohabiting-storage-proxy': key('Acknowledge volume events without mounting', parseBoolean, true),
  'public-host': key('Host told to clients; unset: advertised-host, then bind-host', text, null, {
    example: 'node1.example.org',
  }),
  region: key('Region told to managers; unset: BACKEND_REGION, then "local"', text, null, {
    example: 'local',
  }),
  'instance-type': key('Instance type told to managers; unset: "default"', text, null, {
    example: 'default',
  }),
  'pid-file': key('Where the process id is written', text, null, {
    env: 'BACKEND_PID_FILE',
    example: '/run/splenium.pid',
  }),
  'event-loop': key('Event loop of the original', oneOf('asyncio', 'uvloop'), 'asyncio', unused),
  'skip-manager-detection': key('Do not wait for a manager at the start', parseBoolean, false),
  'aiomonitor-termui-port': key('Debug console of the original', parsePort, 38_200, {
    ...unused,
    aliases: ['aiomonitor-port'],
  }),
  'aiomonitor-webui-port': key('Debug console of the original', parsePort, 39_200, unused),
  'metadata-server-bind-host': key('Address of the metadata server of containers', parseText, '0.0.0.0'),
  'metadata-server-port': key('Port of the metadata server of containers', parsePort, 40_128),
  'allow-compute-plugins': key(
    'Compute plugins to load, by module path or a prefix of it; unset: all; empty: only cpu and mem',
    plugins,
    null,
    { example: [] },
  ),
  'block-compute-plugins': key('Compute plugins not to load; wins over the allow list', plugins, null, {
    example: [],
  }),
  'allow-network-plugins': key('Network plugins to load; unset: all', plugins, null, { example: [] }),
  'block-network-plugins': key('Network plugins not to load', plugins, null, { example: [] }),
  'image-commit-path': key('Where committed images are kept', parseNonEmptyText, './tmp/backend.ai/commit'),
  'abuse-report-path': key('Directory of abuse reports, scanned every 30 s', text, null, {
    example: './abuse-reports',
  }),
  'use-experimental-redis-event-dispatcher': key(
    'Event dispatcher of the original',
    parseBoolean,
    false,
    unused,
  ),
  'docker-mode': key('Overwritten by the original at the start', text, null, {
    ...unused,
    example: 'native',
  }),
  id: key('Name of the agent; made up once and kept when unset', text, null, {
    ...perAgent,
    example: 'i-node1',
  }),
  'agent-sock-port': key(
    'Loopback port behind the in-container agent socket; agents that inherit it get consecutive ones',
    integerBetween(1024, 65_535),
    6007,
    perAgent,
  ),
  'scaling-group': key('Resource group the agent belongs to', parseText, 'default', {
    ...perAgent,
    aliases: ['initial-resource-group-name'],
  }),
  'scaling-group-type': key('Kind of resource group', oneOf('compute', 'storage'), 'compute', perAgent),
  'force-terminate-abusing-containers': key(
    'End kernels that abuse resources',
    parseBoolean,
    false,
    perAgent,
  ),
  'kernel-creation-concurrency': key(
    'Kernels created at once by one call',
    integerBetween(1, 32),
    4,
    perAgent,
  ),
  'sync-container-lifecycles': table(
    'Comparison of containers with the kernel registry.',
    {
      enabled: key('Compare at all', parseBoolean, true),
      interval: key('Time between comparisons', parseNonNegative, 10, { unit: 's' }),
    },
    perAgent,
  ),
  'utilization-metric': table(
    'Measurement of utilization.',
    {
      node: metricSchedule('the node'),
      container: metricSchedule('containers'),
      process: metricSchedule('processes'),
    },
    perAgent,
  ),
});

function metricSchedule(what: string) {
  return table(`Measurement of ${what}.`, {
    enable: key('Measure at all', parseBoolean, true, { aliases: ['enabled'] }),
    interval: key(
      'Time between measurements; unset: 5 with splenium.manager-version 25.17, 30 with 26.9',
      optional(parsePositive),
      null,
      { unit: 's', example: 5 },
    ),
  });
}
