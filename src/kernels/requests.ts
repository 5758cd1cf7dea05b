import type { ImageRequest } from '../backends/backend.js';
import type { KernelId, SessionId } from '../core/ids.js';

/**
 * What callers ask of an agent and what they get back, in this program's own words. The RPC layer parses wire values
 * into these shapes and turns results back into the wire's (spec/rpc-functions.md 3); nothing below it knows msgpack.
 */

/** spec/rpc-functions.md 3.0.3. Amounts are decimal texts, kept exactly as sent. */
export interface KernelCreationConfig {
  readonly image: ImageRequest & {
    readonly labels: Readonly<Record<string, string>>;
    readonly project: string | null;
  };
  readonly networkId: string;
  readonly sessionType: SessionType;
  readonly clusterRole: string;
  readonly clusterHostname: string;
  readonly uid: number | null;
  readonly mainGid: number | null;
  readonly supplementaryGids: readonly number[];
  readonly resourceSlots: Readonly<Record<string, string>>;
  readonly resourceOpts: {
    readonly shmemBytes: bigint | null;
    readonly allowFractionalResourceFragmentation: boolean;
  };
  readonly environ: Readonly<Record<string, string>>;
  readonly mounts: readonly VFolderMount[];
  readonly internalData: InternalData;
  readonly preopenPorts: readonly number[];
  readonly allocatedHostPorts: readonly number[];
  readonly bootstrapScript: string | null;
  readonly scalingGroup: string;
  readonly agentAddr: string;
  readonly ownerUserId: string | null;
  readonly ownerProjectId: string | null;
}

export type SessionType = 'interactive' | 'batch' | 'inference' | 'system';

export interface VFolderMount {
  readonly name: string;
  readonly vfid: string;
  readonly vfsubpath: string;
  readonly hostPath: string;
  readonly kernelPath: string;
  readonly permission: 'ro' | 'rw' | 'wd';
  readonly usageMode: 'general' | 'model' | 'data';
}

export interface InternalData {
  readonly dotfiles: readonly { readonly path: string; readonly data: string; readonly perm: string }[];
  readonly sshKeypair: SshKeypair | null;
  readonly dockerCredentials: Readonly<Record<string, unknown>> | null;
  readonly domainSocketProxies: readonly string[];
  readonly blockServicePorts: boolean;
  readonly sudoSessionEnabled: boolean;
  readonly preventVfolderMounts: boolean;
  /** Kind of model server (spec/kernel-lifecycle.md 2.19). Absent: `custom`. */
  readonly runtimeVariant?: string;
  /** File inside the model folder. Absent: its usual names. */
  readonly modelDefinitionPath?: string;
  /** What 26.x sends in place of the two above, as it came. */
  readonly modelDefinition?: Readonly<Record<string, unknown>>;
}

export interface SshKeypair {
  readonly publicKey: string;
  readonly privateKey: string;
}

export interface ClusterInfo {
  readonly mode: string;
  readonly size: number;
  readonly replicas: Readonly<Record<string, number>>;
  readonly networkConfig: Readonly<Record<string, unknown>>;
  readonly sshKeypair: SshKeypair | null;
  readonly clusterSshPortMapping: Readonly<Record<string, readonly [string, number]>> | null;
}

export interface KernelImageRef {
  readonly canonical: string;
  readonly architecture: string;
  readonly isLocal: boolean;
}

export interface KernelCreationRequest {
  readonly sessionId: SessionId;
  readonly kernelId: KernelId;
  readonly config: KernelCreationConfig;
  readonly cluster: ClusterInfo;
  readonly imageRef: KernelImageRef;
}

export interface ServicePort {
  readonly name: string;
  readonly protocol: 'http' | 'tcp' | 'preopen' | 'internal' | 'vnc' | 'rdp';
  readonly containerPorts: readonly number[];
  readonly hostPorts: readonly (number | null)[];
  readonly isInference: boolean;
  readonly urlTemplate?: string;
  readonly allowedArguments?: readonly string[];
  readonly allowedEnvs?: readonly string[];
}

/** spec/rpc-functions.md 3.7.1, "Result". */
export interface KernelCreationResult {
  readonly id: KernelId;
  readonly containerId: string;
  readonly kernelHost: string;
  readonly replInPort: number;
  readonly replOutPort: number;
  readonly servicePorts: readonly ServicePort[];
  readonly resourceSpec: ResourceSpec;
  readonly attachedDevices: Readonly<Record<string, readonly AttachedDevice[]>>;
  readonly agentAddr: string;
  readonly scalingGroup: string;
}

/** Amounts are exact decimal texts. */
export interface ResourceSpec {
  readonly slots: Readonly<Record<string, string>>;
  /** device name -> slot name -> device id -> amount */
  readonly allocations: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, string>>>>>>;
  readonly scratchDiskSizeBytes: number;
  readonly mounts: readonly {
    readonly type: 'bind' | 'volume' | 'tmpfs';
    readonly source: string | null;
    readonly target: string;
    readonly permission: 'ro' | 'rw' | 'wd';
  }[];
}

export interface AttachedDevice {
  readonly deviceId: string;
  readonly modelName: string;
  readonly data: { readonly cores?: number; readonly memBytes?: bigint; readonly smp?: number };
}

export interface KernelRestartResult {
  readonly containerId: string;
  readonly replInPort: number;
  readonly replOutPort: number;
  readonly servicePorts: readonly ServicePort[];
}

/** What a creation would ask of the backend; nothing of it exists. */
export interface KernelPreview {
  readonly agentId: string;
  readonly kernelId: KernelId;
  readonly backend: string;
  /** In the backend's own words. */
  readonly launch: Readonly<Record<string, unknown>>;
}

/** One kernel as cross-agent queries show it. */
export interface KernelDescription {
  readonly agentId: string;
  readonly kernelId: KernelId;
  readonly sessionId: SessionId;
  readonly state: string;
  /**
   * What a creation or restart is busy with, or how the container of an ending kernel ended by itself; null: none of
   * these.
   */
  readonly stateDetail: string | null;
  readonly sessionType: SessionType;
  readonly image: string;
  readonly runtimeType: string;
  readonly containerId: string | null;
  readonly clusterRole: string;
  readonly clusterHostname: string;
  readonly createdAtMs: number;
  readonly startedAtMs: number | null;
  readonly terminationReason: string | null;
  readonly resourceSlots: Readonly<Record<string, string>>;
  readonly servicePorts: readonly ServicePort[];
}

/** One entry of `check_and_pull` (spec/rpc-functions.md 3.0.2). */
export type ImagePullRequest = ImageRequest & {
  readonly project: string | null;
};
