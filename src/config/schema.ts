import {
  integerBetween,
  oneOf,
  optional,
  parseBoolean,
  parseHostPort,
  parseHostPortList,
  parseInteger,
  parseNonNegative,
  parseOwnerId,
  parsePortRange,
  parseSizeBytes,
  parseTable,
  parseText,
} from './formats.js';

/** One key of the file: how it is read, what stands in when it is absent, and what it means. */
export interface KeyDefinition<T = unknown> {
  readonly parse: (value: unknown) => T;
  /** Raw value, as it would stand in the file; goes through `parse` like any other. */
  readonly default: unknown;
  readonly doc: string;
  readonly aliases?: readonly string[];
  /** Environment variable that wins over the file (spec/config-and-resources.md 1.4). */
  readonly env?: string;
  /** May an `[[agents]]` entry override it? */
  readonly perAgent?: true;
  readonly secret?: true;
  readonly required?: true;
}

const key = <T>(
  doc: string,
  parse: (value: unknown) => T,
  fallback: unknown,
  more: Omit<KeyDefinition<T>, 'parse' | 'default' | 'doc'> = {},
): KeyDefinition<T> => ({ doc, parse, default: fallback, ...more });

const flag = (doc: string) => key(doc, parseBoolean, false);
const text = (doc: string, more: Omit<KeyDefinition, 'parse' | 'default' | 'doc'> = {}) =>
  key(
    doc,
    optional(parseText),
    null,
    more as Omit<KeyDefinition<string | null>, 'parse' | 'default' | 'doc'>,
  );
const perAgent = { perAgent: true } as const;

/** `agent.rpc-listen-addr` of the original refuses link-local addresses, since a manager elsewhere cannot reach them. */
const parseRpcListenAddress = (value: unknown) => {
  const address = parseHostPort(value);
  if (/^(169\.254\.|fe80:)/i.test(address.host))
    throw new Error('Cannot use link-local IP address as the RPC listening host.');
  return address;
};

/**
 * Every key this program reads, in the original's spelling. Keys of the original that have no meaning here are known
 * too (`KNOWN_UNUSED`), so that an original file loads without a warning.
 */
export const SCHEMA = {
  agent: {
    backend: key('what runs kernels', oneOf('process', 'docker', 'kubernetes', 'dummy'), 'process', {
      aliases: ['mode'],
      required: true,
    }),
    'rpc-listen-addr': key('where managers connect', parseRpcListenAddress, '0.0.0.0:6001'),
    'advertised-rpc-addr': key('address told to managers', optional(parseHostPort), null),
    'service-addr': key('internal HTTP address', parseHostPort, '0.0.0.0:6003', {
      aliases: ['internal-addr'],
    }),
    'rpc-auth-agent-keypair': text('secret CURVE key file of the agent; its presence switches CURVE on'),
    'rpc-auth-manager-public-key': text('public CURVE key file of the manager; needed with the former'),
    'public-host': text('host name told to clients'),
    region: text('region name told to managers'),
    'instance-type': text('instance type told to managers'),
    'pid-file': text('where the process id is written', { env: 'BACKEND_PID_FILE' }),
    'skip-manager-detection': flag('do not wait for a manager at the start'),
    'abuse-report-path': text('directory of abuse reports'),
    id: text('name of the agent; generated once and kept when absent', perAgent),
    'agent-sock-port': key(
      'port of the in-container agent socket',
      integerBetween(1024, 65_535),
      6007,
      perAgent,
    ),
    'scaling-group': key('resource group the agent belongs to', parseText, 'default', {
      ...perAgent,
      aliases: ['initial-resource-group-name'],
    }),
    'scaling-group-type': key('kind of resource group', oneOf('compute', 'storage'), 'compute', perAgent),
    'force-terminate-abusing-containers': key(
      'end kernels that abuse resources',
      parseBoolean,
      false,
      perAgent,
    ),
    'kernel-creation-concurrency': key('kernels created at once', integerBetween(1, 32), 4, perAgent),
  },
  container: {
    'bind-host': key('host address of published ports', parseText, '', {
      aliases: ['kernel-host'],
      env: 'BACKEND_BIND_HOST_OVERRIDE',
    }),
    'advertised-host': text('kernel host told to clients'),
    'kernel-uid': key('user id of kernels; -1 is our own', parseOwnerId, -1, perAgent),
    'kernel-gid': key('group id of kernels; -1 is our own', parseOwnerId, -1, perAgent),
    'port-range': key('host ports handed to kernels, both ends included', parsePortRange, [30_000, 31_000], {
      ...perAgent,
      env: 'BACKEND_CONTAINER_PORT_RANGE',
    }),
    'scratch-type': key(
      'how scratch directories are made',
      oneOf('hostdir', 'hostfile', 'memory', 'k8s-nfs'),
      'hostdir',
      perAgent,
    ),
    'scratch-root': key('directory of the kernels’ scratch directories', parseText, './scratches', {
      ...perAgent,
      env: 'BACKEND_SCRATCH_ROOT',
    }),
    'scratch-size': key('size of one scratch', parseSizeBytes, 0, perAgent),
  },
  resource: {
    'reserved-cpu': key('cores kept from kernels', parseInteger, 1),
    'reserved-mem': key('memory kept from kernels', parseSizeBytes, '1G'),
    'reserved-disk': key('disk kept from kernels', parseSizeBytes, '8G'),
    'allocation-mode': key('how agents share the machine', oneOf('shared', 'auto-split', 'manual'), 'shared'),
    allocations: key('manual allocation', optional(parseTable), null),
  },
  etcd: {
    namespace: key('prefix of all keys', parseText, 'local', { env: 'BACKEND_NAMESPACE' }),
    addr: key('one address or several', optional(parseHostPortList), null, { env: 'BACKEND_ETCD_ADDR' }),
    user: text('user name', { env: 'BACKEND_ETCD_USER' }),
    password: text('password', { env: 'BACKEND_ETCD_PASSWORD', secret: true }),
  },
  'kernel-lifecycles': {
    'init-polling-attempt': key('attempts to reach a new kernel runner', integerBetween(1, 10_000), 10),
    'init-polling-timeout-sec': key('seconds for one attempt', parseNonNegative, 60),
    'init-timeout-sec': key('seconds for all attempts', parseNonNegative, 60),
  },
  debug: {
    enabled: flag('debug mode: tracebacks show file paths'),
  },
  logging: {
    level: key('lowest level that is logged', parseLevel, 'INFO'),
  },
  splenium: {
    'state-dir': text('directory of journals, identities and the operator’s key'),
    store: key('where nodes register', optional(oneOf('file', 'etcd')), null),
    'event-bus': key('where events go', optional(oneOf('local', 'redis')), null),
    'agent-start-failure': key('what one agent’s failure to start does', oneOf('abort', 'continue'), 'abort'),
    'allow-plaintext-rpc': flag('serve without CURVE on other addresses than loopback'),
  },
} as const satisfies Record<string, Record<string, KeyDefinition>>;

export type SectionName = keyof typeof SCHEMA;

function parseLevel(value: unknown): string {
  return oneOf(
    'CRITICAL',
    'ERROR',
    'WARNING',
    'INFO',
    'DEBUG',
    'TRACE',
    'NOTSET',
  )(typeof value === 'string' ? value.toUpperCase() : value);
}

/** Tables of the original that are accepted as they are. */
export const KNOWN_UNUSED_SECTIONS = new Set([
  'agents',
  'api',
  'container-logs',
  'docker',
  'k8s',
  'kubernetes',
  'otel',
  'plugins',
  'pyroscope',
  'redis',
  'service-discovery',
  'watcher',
]);

/** Keys of the original without a meaning here, by section. */
export const KNOWN_UNUSED_KEYS: Readonly<Record<SectionName, readonly string[]>> = {
  agent: [
    'announce-addr',
    'announce-internal-addr',
    'ssl-enabled',
    'ssl-cert',
    'ssl-key',
    'ssl-privkey',
    'ipc-base-path',
    'var-base-path',
    'mount-path',
    'mount-path-uid-gid',
    'cohabiting-storage-proxy',
    'event-loop',
    'aiomonitor-termui-port',
    'aiomonitor-port',
    'aiomonitor-webui-port',
    'metadata-server-bind-host',
    'metadata-server-port',
    'allow-compute-plugins',
    'block-compute-plugins',
    'allow-network-plugins',
    'block-network-plugins',
    'image-commit-path',
    'use-experimental-redis-event-dispatcher',
    'docker-mode',
    'sync-container-lifecycles',
    'utilization-metric',
  ],
  container: [
    'krunner-volumes',
    'port-reuse-cooldown-sec',
    'stats-type',
    'sandbox-type',
    'jail-args',
    'scratch-nfs-address',
    'scratch-nfs-options',
    'alternative-bridge',
    'swarm-enabled',
  ],
  resource: ['memory-align-size', 'allocation-order', 'affinity-policy'],
  etcd: [],
  'kernel-lifecycles': [],
  debug: [
    'asyncio',
    'kernel-runner',
    'enhanced-aiomonitor-task-info',
    'skip-container-deletion',
    'log-stats',
    'log-kernel-config',
    'log-alloc-map',
    'log-events',
    'log-heartbeats',
    'log-docker-events',
    'heartbeat-interval',
    'coredump',
  ],
  logging: [
    'version',
    'disable-existing-loggers',
    'handlers',
    'loggers',
    'drivers',
    'pkg-ns',
    'console',
    'file',
    'logstash',
    'graylog',
  ],
  splenium: [],
};
