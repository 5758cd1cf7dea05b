import { devNull } from 'node:os';
import { dirname, join } from 'node:path';
import type { ConfigInput } from './compile.js';
import type { EffectiveValues } from './effective.js';
import { absolute, absoluteOrNull } from './paths.js';
import type { RedisHelper } from './schema/redis.js';
import type {
  AgentConfig,
  ConfigView,
  CoredumpConfig,
  DaemonConfig,
  DockerConfig,
  EtcdTlsConfig,
  LimitsConfig,
  LoggingConfig,
  RedisConfig,
} from './types.js';

/** The shared values in plain units; everything has been checked before. */
export function compileDaemon(
  values: EffectiveValues,
  agents: readonly AgentConfig[],
  views: readonly ConfigView[],
  input: ConfigInput,
): DaemonConfig {
  const etcdAddrs = values.get('etcd.addr') ?? [];
  const hasEtcd = etcdAddrs.length > 0;
  const pidFile = absoluteOrNull(values.get('agent.pid-file'), input);
  const deadlines = values.get('splenium.deadlines');
  return {
    file: input.file,
    backend: values.get('agent.backend'),
    managerVersion: values.get('splenium.manager-version'),
    rpc: {
      listen: values.get('agent.rpc-listen-addr'),
      advertised: values.get('agent.advertised-rpc-addr'),
      agentKeypairFile: absoluteOrNull(values.get('agent.rpc-auth-agent-keypair'), input),
      managerPublicKeyFile: absoluteOrNull(values.get('agent.rpc-auth-manager-public-key'), input),
      acceptedManagerKeysDir: absoluteOrNull(values.get('splenium.accepted-manager-keys'), input),
      allowPlaintext: values.get('splenium.allow-plaintext-rpc'),
    },
    http: {
      listen:
        values.get('splenium.http-addr') ??
        (values.isWritten('agent.service-addr') ? values.get('agent.service-addr') : null),
      announced: values.get('agent.announce-addr'),
      tls: httpTlsOf(values, input),
    },
    stateDir: absoluteOrNull(values.get('splenium.state-dir'), input) ?? defaultStateDir(input),
    store: values.get('splenium.store') ?? (hasEtcd ? 'etcd' : 'file'),
    eventBus: values.get('splenium.event-bus') ?? (hasEtcd ? 'redis' : 'local'),
    etcd: {
      namespace: values.get('etcd.namespace'),
      addrs: etcdAddrs,
      credentials: credentialsOf(values),
      tls: etcdTlsOf(values, input),
    },
    redis: redisOf(values),
    stores: {
      startDeadlineMs: milliseconds(values.get('splenium.store-start-deadline-sec')),
      checkIntervalMs: values.get('splenium.store-check-interval-sec') * 1000,
    },
    agentStartFailure: values.get('splenium.agent-start-failure'),
    debugEnabled: values.get('debug.enabled'),
    debug: {
      kernelRunner: values.get('debug.kernel-runner'),
      skipContainerDeletion: values.get('debug.skip-container-deletion'),
      logStats: values.get('debug.log-stats'),
      logKernelConfig: values.get('debug.log-kernel-config'),
      logAllocMap: values.get('debug.log-alloc-map'),
      logEvents: values.get('debug.log-events'),
      logHeartbeats: values.get('debug.log-heartbeats'),
      logDockerEvents: values.get('debug.log-docker-events'),
      coredump: coredumpOf(values, input),
    },
    logLevel: values.get('logging.level'),
    logging: loggingOf(values, input),
    pidFile: pidFile === devNull ? null : pidFile,
    abuseReportPath: absoluteOrNull(values.get('agent.abuse-report-path'), input),
    paths: {
      ipcBase: absolute(values.get('agent.ipc-base-path'), input),
      varBase: absolute(values.get('agent.var-base-path'), input),
      imageCommit: absolute(values.get('agent.image-commit-path'), input),
    },
    volumes: {
      mountPath: absoluteOrNull(values.get('agent.mount-path'), input),
      mountOwner: values.get('agent.mount-path-uid-gid'),
      cohabitingStorageProxy: values.get('agent.cohabiting-storage-proxy'),
    },
    serviceDiscovery: {
      type: values.get('service-discovery.type'),
      instanceId: values.get('service-discovery.instance-id'),
      serviceGroup: values.get('service-discovery.service-group'),
      displayName: values.get('service-discovery.display-name'),
      extraLabels: values.get('service-discovery.extra-labels'),
      endpoints: values.get('service-discovery.endpoints'),
    },
    cloudDetection: values.get('splenium.cloud-detection'),
    region: values.get('agent.region') || null,
    instanceType: values.get('agent.instance-type') || null,
    publicHost: values.get('agent.public-host') || null,
    skipManagerDetection: values.get('agent.skip-manager-detection'),
    watcherPort: values.isWritten('watcher') ? values.get('watcher.service-addr').port : null,
    metadataServer: {
      bindHost: values.get('agent.metadata-server-bind-host'),
      port: values.get('agent.metadata-server-port'),
    },
    computePlugins: {
      allow: values.get('agent.allow-compute-plugins'),
      block: values.get('agent.block-compute-plugins'),
    },
    networkPlugins: {
      allow: values.get('agent.allow-network-plugins'),
      block: values.get('agent.block-network-plugins'),
    },
    plugins: values.get('plugins'),
    devices: values.get('splenium.devices'),
    networks: values.get('splenium.networks'),
    metadataPlugins: values.get('splenium.metadata-plugins'),
    reserved: {
      cpu: values.get('resource.reserved-cpu'),
      memBytes: values.get('resource.reserved-mem'),
      diskBytes: values.get('resource.reserved-disk'),
    },
    allocationMode: values.get('resource.allocation-mode'),
    allocationOrder: values.get('resource.allocation-order'),
    affinityPolicy: values.get('resource.affinity-policy'),
    memoryAlignBytes: values.get('resource.memory-align-size'),
    containerLogs: {
      maxLengthBytes: values.get('container-logs.max-length'),
      chunkBytes: values.get('container-logs.chunk-size'),
      driver: values.get('container-logs.driver'),
    },
    api: {
      pullTimeoutMs: milliseconds(values.get('api.pull-timeout')),
      commitTimeoutMs: milliseconds(values.get('api.commit-timeout')),
      pushTimeoutMs: milliseconds(values.get('api.push-timeout')),
    },
    heartbeatIntervalMs: values.get('debug.heartbeat-interval') * 1000,
    limits: limitsOf(values),
    deadlines: {
      defaultMs: deadlines.defaultSec === 0 ? null : deadlines.defaultSec * 1000,
      byMethodMs: Object.fromEntries(
        Object.entries(deadlines.byMethodSec).map(([method, seconds]) => [method, seconds * 1000]),
      ),
    },
    outbox: {
      maxEvents: values.get('splenium.outbox.max-events'),
      maxBytes: values.get('splenium.outbox.max-bytes'),
      maxAgeMs: values.get('splenium.outbox.max-age-sec') * 1000,
    },
    keptLogs: {
      maxLogs: values.get('splenium.kept-logs.max-logs'),
      maxBytes: values.get('splenium.kept-logs.max-bytes'),
      maxAgeMs: values.get('splenium.kept-logs.max-age-sec') * 1000,
    },
    maxParallelStarts: values.get('splenium.max-parallel-starts') || null,
    docker: dockerOf(values, input),
    agents,
    views,
  };
}

function dockerOf(values: EffectiveValues, input: ConfigInput): DockerConfig {
  const pidsLimit = values.get('splenium.docker.pids-limit');
  return {
    socketPath: absoluteOrNull(values.get('splenium.docker.socket'), input),
    hardening: values.get('splenium.docker.hardening'),
    pidsLimit: pidsLimit === null ? null : { most: pidsLimit || null },
    seccompProfileFile: absoluteOrNull(values.get('splenium.docker.seccomp-profile'), input),
    runnerPackage: absoluteOrNull(values.get('splenium.docker.runner-package'), input),
    allowedMountRoots:
      values.get('splenium.docker.allowed-mount-roots')?.map((root) => absolute(root, input)) ?? null,
    overrideFiles: values.get('splenium.docker.override-files').map((path) => absolute(path, input)),
    engineDeadlineMs: values.get('splenium.docker.engine-deadline-sec') * 1000,
    killDeadlineMs: values.get('splenium.docker.kill-deadline-sec') * 1000,
  };
}

const milliseconds = (seconds: number | null): number | null => (seconds === null ? null : seconds * 1000);

function credentialsOf(values: EffectiveValues) {
  const user = values.get('etcd.user') ?? '';
  const password = values.get('etcd.password') ?? '';
  return user === '' || password === '' ? null : { user, password };
}

function etcdTlsOf(values: EffectiveValues, input: ConfigInput): EtcdTlsConfig | null {
  const caFile = absoluteOrNull(values.get('splenium.etcd-tls.ca'), input);
  const certFile = absoluteOrNull(values.get('splenium.etcd-tls.cert'), input);
  const keyFile = absoluteOrNull(values.get('splenium.etcd-tls.key'), input);
  if (caFile === null) return null;
  return { caFile, client: certFile === null || keyFile === null ? null : { certFile, keyFile } };
}

function redisOf(values: EffectiveValues): RedisConfig {
  return {
    addr: values.get('redis.addr'),
    sentinels: values.get('redis.sentinel') ?? [],
    serviceName: values.get('redis.service-name'),
    user: values.get('redis.user') || null,
    password: values.get('redis.password') || null,
    sentinelPassword: values.get('redis.sentinel-password') || null,
    requestTimeoutMs: values.get('redis.request-timeout'),
    useTls: values.get('redis.use-tls'),
    tlsSkipVerify: values.get('redis.tls-skip-verify'),
    ...timeoutsOf(values.get('redis.redis-helper-config')),
    overrides: Object.fromEntries(
      Object.entries(values.get('redis.override-configs')).map(([role, { helper, ...server }]) => [
        role,
        { ...server, ...timeoutsOf(helper) },
      ]),
    ),
  };
}

/** That both files are named has been checked. */
function httpTlsOf(values: EffectiveValues, input: ConfigInput): DaemonConfig['http']['tls'] {
  const certFile = absoluteOrNull(values.get('agent.ssl-cert'), input);
  const keyFile = absoluteOrNull(values.get('agent.ssl-key'), input);
  return values.get('agent.ssl-enabled') && certFile !== null && keyFile !== null
    ? { certFile, keyFile }
    : null;
}

const timeoutsOf = (helper: RedisHelper) => ({
  socketTimeoutMs: helper.socketTimeoutSec * 1000,
  connectTimeoutMs: helper.connectTimeoutSec * 1000,
  reconnectPollTimeoutMs: helper.reconnectPollTimeoutSec * 1000,
});

function coredumpOf(values: EffectiveValues, input: ConfigInput): CoredumpConfig | null {
  if (!values.get('debug.coredump.enabled')) return null;
  return {
    path: absolute(values.get('debug.coredump.path'), input),
    backupCount: values.get('debug.coredump.backup-count'),
    sizeLimitBytes: values.get('debug.coredump.size-limit'),
    containerDir: dirname(input.host.corePattern ?? '/'),
  };
}

function loggingOf(values: EffectiveValues, input: ConfigInput): LoggingConfig {
  return {
    format: values.get('splenium.log-format'),
    drivers: values.get('logging.drivers'),
    packageLevels: values.get('logging.pkg-ns') ?? {},
    console: {
      colored: values.get('logging.console.colored'),
      format: values.get('logging.console.format'),
    },
    file: values.isWritten('logging.file')
      ? {
          path: absolute(values.get('logging.file.path'), input),
          filename: values.get('logging.file.filename'),
          backupCount: values.get('logging.file.backup-count'),
          rotationSizeBytes: values.get('logging.file.rotation-size'),
          format: values.get('logging.file.format'),
        }
      : null,
  };
}

function limitsOf(values: EffectiveValues): LimitsConfig {
  return {
    maxMessageBytes: values.get('splenium.limits.max-message-bytes'),
    maxInFlightPerPeer: values.get('splenium.limits.max-in-flight-per-peer'),
    maxInFlight: values.get('splenium.limits.max-in-flight'),
    maxInFlightBytesPerPeer: values.get('splenium.limits.max-in-flight-bytes-per-peer'),
    maxInFlightBytes: values.get('splenium.limits.max-in-flight-bytes'),
    maxRunning: values.get('splenium.limits.max-running'),
    maxQueuedPerPeer: values.get('splenium.limits.max-queued-per-peer'),
    maxQueued: values.get('splenium.limits.max-queued'),
    maxQueuedBytesPerPeer: values.get('splenium.limits.max-queued-bytes-per-peer'),
    maxQueuedBytes: values.get('splenium.limits.max-queued-bytes'),
    maxConnections: values.get('splenium.limits.max-connections'),
    handshakeTimeoutMs: values.get('splenium.limits.handshake-timeout-sec') * 1000,
    maxNestingDepth: values.get('splenium.limits.max-nesting-depth'),
    maxItems: values.get('splenium.limits.max-items'),
  };
}

function defaultStateDir({ env, home }: ConfigInput): string {
  const base = env['XDG_STATE_HOME'];
  return join(base === undefined || base === '' ? join(home, '.local', 'state') : base, 'splenium');
}
