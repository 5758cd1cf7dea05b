import type { KernelBackend, KernelLimits, PlannedMount, RunnerEndpoints } from '../../backends/backend.js';
import type { Clock } from '../../core/clock.js';
import type { AgentId, ContainerId, KernelId } from '../../core/ids.js';
import type { Logger } from '../../core/logger.js';
import type { Metrics } from '../../core/metrics.js';
import type { EventSink } from '../../events/catalogue.js';
import type { KernelJournal } from '../kernel-journal.js';
import type { KernelRegistry } from '../kernel-registry.js';
import type { Model } from '../models/definition.js';
import type { ModelRelease } from '../models/resolve.js';
import type { SessionNetworks } from '../networks/session-networks.js';
import type { AttachedDevice, ResourceSpec } from '../requests.js';
import type { ScratchFile } from './plan-scratch.js';
import type { SocketRelays } from './socket-relays.js';
import type { StartGate } from './start-gate.js';

/** What the lifecycle of one agent's kernels works with. */
export interface LifecycleParts {
  readonly agentId: AgentId;
  readonly backend: KernelBackend;
  readonly registry: KernelRegistry;
  readonly journal: KernelJournal;
  readonly resources: KernelResources;
  readonly ports: HostPorts;
  readonly runners: RunnerConnector;
  readonly events: EventSink;
  /** Absent: nobody asks for the logs of ended kernels. */
  readonly logs?: KernelLogs;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly settings: LifecycleSettings;
  /** Absent: those that this program brings. */
  readonly networks?: SessionNetworks;
  /** Absent: models of inference sessions are not started. */
  readonly models?: ModelRunner;
  /** Of the whole process. Absent: as many kernels are started at once as are asked for. */
  readonly starts?: StartGate;
  /** Absent: kernels reach no socket of this machine. */
  readonly relays?: SocketRelays;
}

export interface LifecycleSettings {
  readonly scratchRoot: string;
  /** Host address of published ports. */
  readonly bindHost: string;
  /** Services that only this machine may reach, such as `ttyd` of storage nodes (spec/kernel-lifecycle.md 2.13). Absent: none. */
  readonly protectedServices?: readonly string[];
  /** How the directory is made (spec/kernel-lifecycle.md 2.8). Absent: `hostdir`. */
  readonly scratchType?: 'hostdir' | 'hostfile' | 'memory';
  /** Of one `hostfile` scratch. */
  readonly scratchSizeBytes?: number;
  /** What every kernel finds in its home, from the runner package. Absent: nothing but what its request brings. */
  readonly homeFiles?: readonly ScratchFile[];
  /** Network of kernels, beside that of their session. Absent or null: the session's, or the backend's own default. */
  readonly alternativeBridge?: string | null;
  /** Where relays of sockets of this machine are (spec/kernel-lifecycle.md 2.9). Absent: there are none. */
  readonly socketDirectory?: string;
  /** Told to clients; null: the bind host. */
  readonly advertisedHost: string | null;
  /** `x86_64`, `aarch64`: what images must be built for. */
  readonly architecture: string;
  readonly kernelUid: number | null;
  readonly kernelGid: number | null;
  /** Kernels of one call created at the same time (spec/kernel-lifecycle.md 2). */
  readonly creationConcurrency: number;
  readonly readiness: {
    readonly attempts: number;
    readonly attemptTimeoutMs: number;
    readonly totalTimeoutMs: number;
    readonly intervalMs: number;
  };
  readonly pullTimeoutMs: number | null;
  readonly stopGraceMs: number;
  /** Whose way with models of inference sessions is followed. Absent: 25.17. */
  readonly managerVersion?: ModelRelease;
}

export interface AllocationRequest {
  readonly slots: Readonly<Record<string, string>>;
  readonly shmemBytes: bigint | null;
  readonly allowFractionalFragmentation: boolean;
}

/** What the ledger hands out for one kernel. Serialisable: the journal keeps it. */
export interface KernelAllocation {
  readonly slots: ResourceSpec['slots'];
  readonly allocations: ResourceSpec['allocations'];
  /** Part of the memory that is to be shared memory, a decimal text. */
  readonly shmemBytes?: string | null;
}

/** One agent's share of the node; implemented by `resources/AgentResources`. All amounts are decimal texts. */
export interface KernelResources {
  /** All or nothing. @throws InsufficientResource and its kin, naming what was asked and what is free. */
  allocate(kernelId: KernelId, request: AllocationRequest): KernelAllocation;
  /** Books exactly what the journal says. @throws when something of it belongs to another kernel. */
  restore(kernelId: KernelId, allocation: KernelAllocation): void;
  /** Idempotent. */
  free(kernelId: KernelId): void;
  environment(allocation: KernelAllocation): Readonly<Record<string, string>>;
  attachedDevices(allocation: KernelAllocation): Readonly<Record<string, readonly AttachedDevice[]>>;
  limits(allocation: KernelAllocation): Omit<KernelLimits, 'shmBytes'>;
  /** What the devices ask of a container engine, in its words. */
  deviceArguments(allocation: KernelAllocation): Readonly<Record<string, unknown>>;
  /** What the devices need besides; `directoryOf`: where the files of a device family are on this machine. */
  deviceNeeds(allocation: KernelAllocation, directoryOf: (deviceName: string) => string): DeviceNeeds;
  /** The content of `resource.txt` but for mounts, spec/config-and-resources.md 4.4. */
  resourceText(allocation: KernelAllocation, mounts: ResourceSpec['mounts']): string;
  /** What such a text says, this program's or the original's. @throws KeyError or ValueError for an unusable one. */
  readResourceText(text: string): {
    readonly allocation: KernelAllocation;
    readonly mounts: ResourceSpec['mounts'];
  };
}

/** What a kernel's devices need of its container besides arguments. */
export interface DeviceNeeds {
  /** Device name -> file name -> content, below `config/<device name>/`. */
  readonly files: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly mounts: readonly PlannedMount[];
  /** Shared libraries of this machine that every process of the kernel loads first. */
  readonly hooks: readonly string[];
  readonly networks: readonly string[];
  readonly gids: readonly number[];
  readonly syscalls: readonly string[];
}

/** Host ports of one agent; implemented by `agent/PortPool`. */
export interface HostPorts {
  /** @throws PortPoolExhaustedError; nothing is taken then. */
  acquire(kernelId: KernelId, count: number): Promise<readonly number[]>;
  /**
   * As many others in the place of these, which turned out to be in use by something that is not ours: they go to the
   * end of the line. @throws PortPoolExhaustedError; nothing has changed then.
   */
  exchange(kernelId: KernelId, ports: readonly number[]): Promise<readonly number[]>;
  /** The free ports that would come next; nothing is taken. @throws PortPoolExhaustedError when there are fewer. */
  preview(count: number): readonly number[];
  /** Books ports that a kernel has already. @throws when another kernel has one of them; nothing is booked then. */
  restore(kernelId: KernelId, ports: readonly number[]): void;
  /** Returns all ports of the kernel. Idempotent. */
  releaseAll(kernelId: KernelId): void;
}

/** The lifecycle's view of the link to a kernel's runner; implemented by `runner/RunnerLink`. */
export interface KernelRunner {
  /** Resolves with the apps the runner offers. @throws TimeoutError, CancelledError (spec/kernel-runner.md 3.12). */
  waitReady(options: {
    readonly attempts: number;
    readonly attemptTimeoutMs: number;
    readonly totalTimeoutMs: number;
    readonly intervalMs: number;
    readonly signal: AbortSignal;
  }): Promise<readonly RunnerApp[]>;
  close(): Promise<void>;
}

export interface RunnerApp {
  readonly name: string;
  readonly urlTemplate?: string;
  readonly allowedArguments?: readonly string[];
  readonly allowedEnvs?: readonly string[];
}

/** Hands out the one link of each kernel; the agent uses the same links for execution. */
export interface RunnerConnector {
  connect(kernelId: KernelId, endpoints: RunnerEndpoints): KernelRunner;
  /** Closes the link; idempotent. */
  disconnect(kernelId: KernelId): Promise<void>;
}

/** Has the runners of kernels start models; implemented by `agent/RunnerLinks`. */
export interface ModelRunner {
  /** Waits for the runner's word as long as the model's health check allows. Rejects for no reason. */
  startModel(
    kernelId: KernelId,
    model: Model,
    signal: AbortSignal,
  ): Promise<{ readonly status: 'started' | 'running' | 'failed'; readonly error?: string }>;
}

/** Whose log it is. */
export interface LogOwner {
  readonly agentId: AgentId;
  readonly kernelId: KernelId;
  readonly containerId: ContainerId;
}

/** Takes what ended kernels wrote, for whoever asks later; implemented by `KeptLogs`. */
export interface KernelLogs {
  /**
   * `stored`: it is where managers look, and they are to be told. `kept`: it is on disk, and managers are told once it is
   * where they look. Rejects when it is not certain that all chunks are either.
   */
  store(owner: LogOwner, chunks: readonly Uint8Array[]): Promise<'stored' | 'kept'>;
  /** How many bytes of a log one chunk holds. */
  readonly chunkBytes: number;
  /** How many of the last bytes of a log are kept. */
  readonly maxBytes: number;
}
