import type { AgentId } from '../core/ids.js';
import type { HostPort, PortRange } from './formats.js';

/** The configuration as the rest of the program sees it: complete, checked, in plain units. */
export interface DaemonConfig {
  /** The file it came from; null when there is none. */
  readonly file: string | null;
  readonly backend: 'process' | 'docker' | 'kubernetes' | 'dummy';
  readonly rpc: {
    readonly listen: HostPort;
    readonly advertised: HostPort | null;
    /** Secret key file of the agent; null: no CURVE. */
    readonly agentKeypairFile: string | null;
    readonly managerPublicKeyFile: string | null;
  };
  readonly stateDir: string;
  readonly store: 'file' | 'etcd';
  readonly eventBus: 'local' | 'redis';
  readonly agentStartFailure: 'abort' | 'continue';
  readonly debugEnabled: boolean;
  readonly logLevel: string;
  readonly pidFile: string | null;
  readonly abuseReportPath: string | null;
  readonly reserved: { readonly cpu: number; readonly memBytes: number };
  readonly allocationMode: 'shared' | 'auto-split' | 'manual';
  /** At least one; the first is the default agent. */
  readonly agents: readonly AgentConfig[];
  /** The same for `config show`: every key with its value as written and where it comes from. */
  readonly views: readonly ConfigView[];
}

export interface AgentConfig {
  /** Null when the file gives none: the daemon makes one up once and keeps it. */
  readonly id: AgentId | null;
  readonly scalingGroup: string;
  readonly portRange: PortRange;
  /** Host address of published ports; empty: to be detected. */
  readonly bindHost: string;
  readonly advertisedHost: string | null;
  readonly scratchRoot: string;
  readonly kernelUid: number | null;
  readonly kernelGid: number | null;
  readonly kernelCreationConcurrency: number;
  readonly kernelLifecycles: {
    readonly initPollingAttempts: number;
    readonly initPollingTimeoutMs: number;
    readonly initTimeoutMs: number;
  };
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
}
