import {
  inPart,
  integerFrom,
  isTable,
  listOf,
  oneOf,
  parseBoolean,
  parseNonEmptyText,
  parseNonNegative,
  parsePositive,
} from '../formats.js';
import { parseHostPort } from '../host-port.js';
import { expecting, optional } from '../parser.js';
import { parseSizeBytes } from '../size.js';
import { key, table } from './definition.js';
import { parseOpaqueTables } from './opaque.js';

const directory = optional(parseNonEmptyText);
const file = optional(parseNonEmptyText);

export interface Deadlines {
  readonly defaultSec: number;
  readonly byMethodSec: Readonly<Record<string, number>>;
}

/** `default-sec` and method names, each with seconds; 0 as the default stands for none. */
const parseDeadlines = expecting(
  'a table of default-sec and method names to seconds',
  (value: unknown): Deadlines => {
    if (!isTable(value)) throw new Error('expected a table');
    const byMethodSec: Record<string, number> = {};
    let defaultSec = 0;
    for (const [name, seconds] of Object.entries(value))
      if (name === 'default-sec' || name === 'default_sec')
        defaultSec = inPart(name, () => parseNonNegative(seconds));
      else byMethodSec[name] = inPart(name, () => parsePositive(seconds));
    return { defaultSec, byMethodSec };
  },
);

/** What the original has no key for. */
export const splenium = table('What the original has no key for.', {
  'state-dir': key(
    'Directory of journals, identities and the operator’s key (0700); unset: $XDG_STATE_HOME/splenium',
    directory,
    null,
    { example: './state' },
  ),
  store: key(
    'Where nodes register; unset: etcd when [etcd] has an address',
    optional(oneOf('file', 'etcd')),
    null,
    {
      example: 'file',
    },
  ),
  'event-bus': key(
    'Where events go; unset: redis when [etcd] has an address',
    optional(oneOf('local', 'redis')),
    null,
    { example: 'local' },
  ),
  'store-start-deadline-sec': key(
    'A start that has not reached etcd and Redis by then fails; unset: it waits for etcd as long as it takes, and ' +
      'does not wait for Redis',
    optional(parsePositive),
    null,
    { unit: 's', example: 300 },
  ),
  'store-check-interval-sec': key(
    'Between two looks whether etcd and Redis answer and etcd still holds what the node wrote there',
    parsePositive,
    10,
    { unit: 's' },
  ),
  'etcd-tls': table('TLS to etcd.', {
    ca: key('Certificates of authorities, PEM; its presence switches TLS on', file, null, {
      file: true,
      example: './tls/etcd-ca.pem',
    }),
    cert: key('Client certificate, PEM', file, null, { file: true, example: './tls/etcd-client.pem' }),
    key: key('Its secret key, PEM (mode 0600)', file, null, {
      file: true,
      example: './tls/etcd-client-key.pem',
    }),
  }),
  'agent-start-failure': key('What one agent’s failure to start does', oneOf('abort', 'continue'), 'abort'),
  'allow-plaintext-rpc': key('Serve without CURVE on other addresses than loopback', parseBoolean, false),
  'cloud-detection': key(
    'Ask the metadata service of AWS, Azure or Google Cloud for region, instance type and address',
    parseBoolean,
    false,
  ),
  'manager-version': key('Which manager dialect is spoken', oneOf('25.17', '26.9'), '25.17'),
  'accepted-manager-keys': key(
    'Directory of public key files of managers, accepted beside agent.rpc-auth-manager-public-key; re-read on change',
    directory,
    null,
    { example: './keys/managers' },
  ),
  'log-format': key('Form of a log line', oneOf('json', 'console'), 'console'),
  'http-addr': key(
    'Where /health and /metrics are served; wins over agent.service-addr',
    optional(parseHostPort),
    null,
    {
      example: '127.0.0.1:6003',
    },
  ),
  limits: table('Bounds on everything a peer controls.', {
    'max-message-bytes': key('Largest message, also after decompression', size(1024), '16M', {
      unit: 'bytes',
    }),
    'max-in-flight-per-peer': key('Unanswered calls of one caller', integerFrom(1), 1024),
    'max-in-flight': key('Unanswered calls of all callers', integerFrom(1), 4096),
    'max-in-flight-bytes-per-peer': key('Arguments of one caller’s unanswered calls', size(1024), '64M', {
      unit: 'bytes',
    }),
    'max-in-flight-bytes': key('Arguments of all unanswered calls', size(1024), '256M', { unit: 'bytes' }),
    'max-running': key(
      'Calls served at the same moment; above max-in-flight-per-peer, so that no caller takes them all',
      integerFrom(1),
      2048,
    ),
    'max-queued-per-peer': key('Messages that wait for one caller', integerFrom(1), 2048),
    'max-queued': key('Messages that wait for all callers', integerFrom(1), 16_384),
    'max-queued-bytes-per-peer': key('Bytes that wait for one caller', size(1024), '64M', { unit: 'bytes' }),
    'max-queued-bytes': key('Bytes that wait for all callers', size(1024), '256M', { unit: 'bytes' }),
    'max-connections': key('Connections at once', integerFrom(1), 1024),
    'handshake-timeout-sec': key('Time for TCP connect and CURVE', parsePositive, 10, { unit: 's' }),
    'max-nesting-depth': key('Nesting of one message', integerFrom(1), 64),
    'max-items': key('Values in one message', integerFrom(1), 1_000_000),
  }),
  deadlines: key(
    'Time after which a call is answered with an error: default-sec (0: none) and single methods by name, in seconds',
    parseDeadlines,
    { 'default-sec': 0 },
  ),
  outbox: table('Events kept while the event bus is away.', {
    'max-events': key('Number', integerFrom(1), 100_000),
    'max-bytes': key('Size', size(4096), '64M', { unit: 'bytes' }),
    'max-age-sec': key('Age', parsePositive, 86_400, { unit: 's' }),
  }),
  'kept-logs': table('Logs of ended kernels kept while the store for them is away.', {
    'max-logs': key('Number', integerFrom(1), 1000),
    'max-bytes': key('Size', size(4096), '256M', { unit: 'bytes' }),
    'max-age-sec': key('Age', parsePositive, 86_400, { unit: 's' }),
  }),
  'max-parallel-starts': key(
    'Kernels of all agents whose container is being made or started at the same moment; 0: two for each core',
    integerFrom(0),
    0,
  ),
  docker: table('The docker backend. What is not written is as with the original.', {
    'runner-package': key(
      'Directory of the original’s package ai.backend.runner: kernels get its SSH server and terminal, and with container.krunner-volumes its runner',
      directory,
      null,
      { example: '/opt/backend.ai/lib/python3.12/site-packages/ai/backend/runner' },
    ),
    socket: key(
      'Socket of the engine; unset: what DOCKER_HOST says, or /var/run/docker.sock',
      directory,
      null,
      {
        example: '/var/run/docker.sock',
      },
    ),
    hardening: key(
      'strict: kernels have no capabilities but two and cannot gain privileges; sessions with sudo keep the engine’s',
      oneOf('original', 'strict'),
      'original',
    ),
    'pids-limit': key(
      'Processes and threads of one kernel; 0: no limit; unset: no limit, with strict hardening 4096',
      optional(integerFrom(0)),
      null,
      { example: 4096 },
    ),
    'seccomp-profile': key(
      'File with a seccomp profile, to which system calls of device plugins are added; unset: the runner package’s default-seccomp.json, else the engine’s own',
      directory,
      null,
      { example: '/etc/splenium/seccomp.json' },
    ),
    'allowed-mount-roots': key(
      'Folders, relayed sockets and files of devices reach kernels only from below these directories; unset: from anywhere',
      optional(listOf(parseNonEmptyText)),
      null,
      { example: ['/vfroot'] },
    ),
    'override-files': key(
      'JSON files whose container options are merged over ours in this order; absent ones are skipped',
      listOf(parseNonEmptyText),
      [
        '/etc/backend.ai/agent-docker-container-opts.json',
        '~/.config/backend.ai/agent-docker-container-opts.json',
        './agent-docker-container-opts.json',
      ],
    ),
    'engine-deadline-sec': key(
      'How long the engine may take for an answer; three times that for create, start and remove',
      parsePositive,
      30,
      { unit: 's' },
    ),
    'kill-deadline-sec': key('How long a killed container may take to be gone', parsePositive, 30, {
      unit: 's',
    }),
  }),
  networks: key('Settings of network plugins by plugin name, passed on as they are', parseOpaqueTables, {}),
  'metadata-plugins': key(
    'Packages that tell kernels in containers more about themselves, and their settings, by plugin name',
    parseOpaqueTables,
    {},
  ),
  devices: key('Settings of device plugins by plugin name, passed on as they are', parseOpaqueTables, {}),
});

function size(lowest: number) {
  return expecting(`${parseSizeBytes.expects}, ${String(lowest)} or more`, (value: unknown) => {
    const bytes = parseSizeBytes(value);
    if (bytes < lowest) throw new Error(`expected a size of ${String(lowest)} bytes or more`);
    return bytes;
  });
}
