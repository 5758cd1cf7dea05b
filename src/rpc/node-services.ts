import type { Agent } from '../agent/agent.js';
import type { KernelId } from '../core/ids.js';
import type { KernelDescription } from '../kernels/requests.js';

/** The agents of this process as calls look for them; implemented by `runtime/AgentRuntime`. */
export interface AgentDirectory {
  /** Null: the default agent. @throws AgentIdNotFoundError */
  getAgent(id: string | null): Agent;
  /** The agent that has this kernel, in whatever state; undefined: nobody. */
  findOwner(kernelId: KernelId): Agent | undefined;
  /** Those that run, in configuration order. */
  listAgents(): readonly Agent[];
  /** Null: of every agent. @throws AgentIdNotFoundError */
  listKernels(agentId: string | null): readonly KernelDescription[];
  /** Null: wherever it is. @throws AgentIdNotFoundError, KeyError */
  describeKernel(kernelId: KernelId, agentId: string | null): KernelDescription;
}

/** What functions of the node need that no agent has. */
export interface NodeServices {
  readonly agents: AgentDirectory;
  health(): NodeHealth | Promise<NodeHealth>;
  /** Looks over the books of the running node. */
  examine(): Promise<readonly Examination[]>;
  /** Null when none is configured. */
  readonly abuseReportPath: string | null;
}

/** One thing that must hold, and where it does not. */
export interface Examination {
  readonly check: string;
  readonly findings: readonly string[];
  /** Since when it is so, milliseconds since the epoch; null: not known, or it is looked at only now. */
  readonly sinceMs: number | null;
}

/** spec/rpc-functions.md 6.2.2. */
export interface NodeHealth {
  readonly status: 'ok' | 'degraded';
  /** Of this program. */
  readonly version: string;
  readonly checks: readonly HealthCheck[];
  readonly measuredAtMs: number;
}

export interface HealthCheck {
  /** `etcd`, `container`, `redis`. */
  readonly serviceGroup: string;
  readonly componentId: string;
  readonly isHealthy: boolean;
  readonly lastCheckedAtMs: number;
  readonly errorMessage: string | null;
  /** Since when it is so, milliseconds since the epoch; null: not known. */
  readonly sinceMs: number | null;
}
