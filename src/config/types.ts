import type { PeerLimits } from '../callosum/peer-options.js';
import type { AgentId } from '../core/ids.js';
import type { PortRange } from './formats.js';
import type { HostPort } from './host-port.js';

/** The configuration as the rest of the program sees it: complete, checked, in plain units. */
export interface DaemonConfig {
  /** The file it came from; null when there is none. */
  readonly file: string | null;
  readonly backend: 'process' | 'docker' | 'kubernetes' | 'dummy';
  /** Which manager dialect is spoken. */
  readonly managerVersion: ManagerVersion;
  readonly rpc: RpcConfig;
  readonly http: HttpConfig;
  readonly stateDir: string;
  readonly store: 'file' | 'etcd';
  readonly eventBus: 'local' | 'redis';
  readonly etcd: EtcdConfig;
  /** From `[redis]`, or from etcd `config/redis` once overlaid. */
  readonly redis: RedisConfig;
  readonly stores: StoresConfig;
  readonly agentStartFailure: 'abort' | 'continue';
  /** `--debug`, else `debug.enabled`. */
  readonly debugEnabled: boolean;
  readonly debug: DebugConfig;
  /** Lowest level that is logged, upper case. */
  readonly logLevel: string;
  readonly logging: LoggingConfig;
  readonly pidFile: string | null;
  readonly abuseReportPath: string | null;
  readonly paths: PathsConfig;
  readonly volumes: VolumesConfig;
  readonly serviceDiscovery: ServiceDiscoveryConfig;
  /** May the metadata service of a cloud be asked what this machine is? */
  readonly cloudDetection: boolean;
  readonly region: string | null;
  readonly instanceType: string | null;
  readonly publicHost: string | null;
  readonly skipManagerDetection: boolean;
  /** Port of the watcher beside this agent, published for managers; null: no `[watcher]`. */
  readonly watcherPort: number | null;
  readonly metadataServer: { readonly bindHost: string; readonly port: number };
  readonly computePlugins: PluginFilter;
  readonly networkPlugins: PluginFilter;
  /** Opaque settings of compute plugins by plugin name: `[plugins]`, replaced by etcd `config/plugins/accelerator`. */
  readonly plugins: OpaqueTables;
  /** Opaque settings of this program's device plugins by plugin name: `[splenium.devices.<name>]`. */
  readonly devices: OpaqueTables;
  /** Opaque settings of network plugins by plugin name: `[splenium.networks.<name>]`. */
  readonly networks: OpaqueTables;
  /** The same of metadata plugins: `[splenium.metadata-plugins.<name>]`. */
  readonly metadataPlugins: OpaqueTables;
  readonly reserved: { readonly cpu: number; readonly memBytes: number; readonly diskBytes: number };
  readonly allocationMode: 'shared' | 'auto-split' | 'manual';
  /** Device names in the order in which they are allocated. */
  readonly allocationOrder: readonly string[];
  readonly affinityPolicy: 'INTERLEAVED' | 'PREFER_SINGLE_NODE';
  readonly memoryAlignBytes: number;
  readonly containerLogs: ContainerLogsConfig;
  readonly api: ApiTimeouts;
  readonly heartbeatIntervalMs: number;
  readonly limits: LimitsConfig;
  readonly deadlines: DeadlinesConfig;
  readonly outbox: OutboxConfig;
  readonly keptLogs: KeptLogsConfig;
  /** Kernels started at the same moment; null: two for each core. */
  readonly maxParallelStarts: number | null;
  readonly docker: DockerConfig;
  /** At least one; the first is the default agent. */
  readonly agents: readonly AgentConfig[];
  /** The same for `config show`: every key with its value as written and where it comes from. */
  readonly views: readonly ConfigView[];
}

/** `25.17` is also what a 25.17.1 release speaks. */
export type ManagerVersion = '25.17' | '26.9';

/** Tables whose keys only their user knows. */
export type OpaqueTables = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export interface RpcConfig {
  /** An empty host: to be detected (`detectHosts`). */
  readonly listen: HostPort;
  readonly advertised: HostPort | null;
  /** Secret key file of the agent; null: no CURVE. */
  readonly agentKeypairFile: string | null;
  readonly managerPublicKeyFile: string | null;
  /** Directory of further public key files of managers, re-read on change. */
  readonly acceptedManagerKeysDir: string | null;
  readonly allowPlaintext: boolean;
}

export interface HttpConfig {
  /** Where /health and /metrics are served; null: nowhere. */
  readonly listen: HostPort | null;
  /** Address published to service discovery. */
  readonly announced: HostPort;
  /** PEM files; null: plain HTTP. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | null;
}

export interface EtcdConfig {
  readonly namespace: string;
  /** Empty: no etcd. */
  readonly addrs: readonly HostPort[];
  /** Only when both halves are given and not empty. */
  readonly credentials: { readonly user: string; readonly password: string } | null;
  /** Null: plain text. */
  readonly tls: EtcdTlsConfig | null;
}

/** Paths of PEM files. */
export interface EtcdTlsConfig {
  readonly caFile: string;
  /** Both or none. */
  readonly client: { readonly certFile: string; readonly keyFile: string } | null;
}

export interface StoresConfig {
  /** How long a start waits for etcd and Redis; null: without limit for etcd, not at all for Redis. */
  readonly startDeadlineMs: number | null;
  readonly checkIntervalMs: number;
}

export interface RedisServer {
  /** Ignored when there are sentinels. */
  readonly addr: HostPort | null;
  readonly sentinels: readonly HostPort[];
  readonly serviceName: string | null;
  readonly user: string | null;
  readonly password: string | null;
  /** Of the sentinels; null: the same. */
  readonly sentinelPassword: string | null;
  /** Of one command; null or 0: what the store finds right. */
  readonly requestTimeoutMs: number | null;
  readonly useTls: boolean;
  readonly tlsSkipVerify: boolean;
  readonly socketTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly reconnectPollTimeoutMs: number;
}

export interface RedisConfig extends RedisServer {
  /** Role such as `stat` or `stream` -> its own server. */
  readonly overrides: Readonly<Record<string, RedisServer>>;
}

export interface DebugConfig {
  readonly kernelRunner: boolean;
  readonly skipContainerDeletion: boolean;
  readonly logStats: boolean;
  readonly logKernelConfig: boolean;
  readonly logAllocMap: boolean;
  readonly logEvents: boolean;
  readonly logHeartbeats: boolean;
  readonly logDockerEvents: boolean;
  readonly coredump: CoredumpConfig | null;
}

export interface CoredumpConfig {
  /** Host directory that collects the dumps. */
  readonly path: string;
  readonly backupCount: number;
  readonly sizeLimitBytes: number;
  /** Directory of the kernel's core pattern: where `path` is mounted in containers. */
  readonly containerDir: string;
}

export interface LoggingConfig {
  readonly format: 'json' | 'console';
  readonly drivers: readonly ('console' | 'logstash' | 'file' | 'graylog')[];
  /** Dotted name prefix -> level. */
  readonly packageLevels: Readonly<Record<string, string>>;
  readonly console: { readonly colored: boolean | null; readonly format: 'simple' | 'verbose' };
  readonly file: {
    readonly path: string;
    readonly filename: string;
    readonly backupCount: number;
    readonly rotationSizeBytes: number;
    readonly format: 'simple' | 'verbose';
  } | null;
}

export interface PathsConfig {
  readonly ipcBase: string;
  readonly varBase: string;
  readonly imageCommit: string;
}

export interface VolumesConfig {
  /** Root of volume mounts; null: the working directory. */
  readonly mountPath: string | null;
  readonly mountOwner: string | null;
  /** True: volume events are acknowledged and nothing is mounted. */
  readonly cohabitingStorageProxy: boolean;
}

export interface ServiceDiscoveryConfig {
  readonly type: 'redis' | 'etcd';
  readonly instanceId: string | null;
  /** Null: no service events. */
  readonly serviceGroup: string | null;
  readonly displayName: string | null;
  readonly extraLabels: Readonly<Record<string, string>>;
  readonly endpoints: readonly ServiceEndpointConfig[];
}

export interface ServiceEndpointConfig {
  readonly role: string;
  readonly scope: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** Matching is by module path prefix (spec/config-and-resources.md 6.2). */
export interface PluginFilter {
  /** Null: all; empty: none. */
  readonly allow: readonly string[] | null;
  /** Wins over `allow`. */
  readonly block: readonly string[] | null;
}

export interface ContainerLogsConfig {
  readonly maxLengthBytes: number;
  readonly chunkBytes: number;
  readonly driver: 'local' | 'json-file';
}

/** Of the docker backend, `[splenium.docker]`. */
export interface DockerConfig {
  /** Null: what `DOCKER_HOST` says, or the usual place. */
  readonly socketPath: string | null;
  readonly hardening: 'original' | 'strict';
  /** Null: as the hardening says. `most` null: no limit. */
  readonly pidsLimit: { readonly most: number | null } | null;
  /** Null: the engine's own profile. */
  readonly seccompProfileFile: string | null;
  /** The original's runner package; null: none. */
  readonly runnerPackage: string | null;
  /** Null: folders may be anywhere. */
  readonly allowedMountRoots: readonly string[] | null;
  /** In the order in which they are merged. */
  readonly overrideFiles: readonly string[];
  readonly engineDeadlineMs: number;
  readonly killDeadlineMs: number;
}

/** Null: no limit. */
export interface ApiTimeouts {
  readonly pullTimeoutMs: number | null;
  readonly commitTimeoutMs: number | null;
  readonly pushTimeoutMs: number | null;
}

/** Bounds on everything a peer controls: those of its connection, and of what is in its messages. */
export interface LimitsConfig extends Omit<PeerLimits, 'maxHandshakeMs'> {
  /** `PeerLimits.maxHandshakeMs`. */
  readonly handshakeTimeoutMs: number;
  /** The codec's `maxDepth`. */
  readonly maxNestingDepth: number;
  /** The codec's, of one message. */
  readonly maxItems: number;
}

export interface DeadlinesConfig {
  /** For methods without an own one; null: none. */
  readonly defaultMs: number | null;
  readonly byMethodMs: Readonly<Record<string, number>>;
}

export interface OutboxConfig {
  readonly maxEvents: number;
  readonly maxBytes: number;
  readonly maxAgeMs: number;
}

/** Bounds of the logs of ended kernels that wait for their store. */
export interface KeptLogsConfig {
  readonly maxLogs: number;
  readonly maxBytes: number;
  readonly maxAgeMs: number;
}

export interface AgentConfig {
  /** Null when the file gives none: the daemon makes one up once and keeps it. */
  readonly id: AgentId | null;
  readonly scalingGroup: string;
  readonly scalingGroupType: 'compute' | 'storage';
  /** Loopback TCP port behind the in-container agent socket. */
  readonly agentSockPort: number;
  readonly forceTerminateAbusingContainers: boolean;
  readonly portRange: PortRange;
  /** How long a released host port stays out of use. */
  readonly portReuseCooldownMs: number;
  /** Host address of published ports; empty: to be detected. */
  readonly bindHost: string;
  readonly advertisedHost: string | null;
  readonly scratchRoot: string;
  readonly scratchType: 'hostdir' | 'hostfile' | 'memory' | 'k8s-nfs';
  /** Of the sparse file of `hostfile`; 0: the backend's own default. */
  readonly scratchSizeBytes: number;
  readonly scratchNfs: { readonly address: string; readonly options: string } | null;
  readonly statsType: 'docker' | 'cgroup' | null;
  readonly sandboxType: 'docker' | 'jail';
  readonly jailArgs: readonly string[];
  readonly alternativeBridge: string | null;
  /** Distribution name -> Docker volume of the kernel runner; null: to be prepared at the start. */
  readonly krunnerVolumes: Readonly<Record<string, string>> | null;
  /** Null: the process' own. */
  readonly kernelUid: number | null;
  readonly kernelGid: number | null;
  readonly kernelCreationConcurrency: number;
  readonly kernelLifecycles: {
    readonly initPollingAttempts: number;
    readonly initPollingTimeoutMs: number;
    readonly initTimeoutMs: number;
  };
  readonly syncContainerLifecycles: { readonly enabled: boolean; readonly intervalMs: number };
  readonly utilizationMetric: {
    readonly node: MetricSchedule;
    readonly container: MetricSchedule;
    readonly process: MetricSchedule;
  };
  /** This agent's share in mode `manual`; null in the other modes. */
  readonly allocations: ManualAllocations | null;
}

export interface MetricSchedule {
  readonly enabled: boolean;
  readonly intervalMs: number;
}

export interface ManualAllocations {
  /** Cores; with explicit core ids, their number. */
  readonly cpu: number;
  readonly memBytes: number;
  /** Slot name such as `cuda.shares` -> exact decimal text. */
  readonly devices: Readonly<Record<string, string>>;
  /** Device name such as `cuda` or `cpu` -> ids of the devices that belong to this agent alone. */
  readonly deviceIds: Readonly<Record<string, readonly string[]>>;
}

/** One agent's effective keys, raw. */
export interface ConfigView {
  readonly agentId: string | null;
  readonly entries: readonly ConfigEntry[];
}

export interface ConfigEntry {
  readonly key: string;
  readonly value: unknown;
  readonly origin: string;
  readonly secret: boolean;
  /** A key of the original that this program reads and checks, but does not act on. */
  readonly unused: boolean;
}
