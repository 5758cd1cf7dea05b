import type { FileListing, RegistryAccess } from '../backends/backend.js';
import type { AgentId, ContainerId, KernelId, SessionId } from '../core/ids.js';
import type { KernelRegistry } from '../kernels/kernel-registry.js';
import type {
  ImagePullRequest,
  KernelCreationRequest,
  KernelCreationResult,
  KernelImageRef,
  KernelPreview,
  KernelRestartResult,
} from '../kernels/requests.js';
import type { AgentUsage } from '../resources/index.js';
import type { ExecutionRequest, ExecutionResult } from '../runner/execution.js';

/**
 * One agent as its callers see it: one method a function of the RPC surface (spec/rpc-functions.md 3), in this
 * program's own types. Whatever waits takes the caller's signal. A kernel that this agent does not have is a
 * `KeyError` with the id as its message, unless a method says otherwise.
 */
export interface Agent {
  readonly id: AgentId;
  /** This agent's kernels, live. */
  readonly kernels: KernelRegistry;
  readonly scalingGroup: string;

  /** Device key -> health (spec 3.1). */
  hardwareInfo(): Promise<Readonly<Record<string, HardwareHealth>>>;
  /** Device id -> allocated amount as a decimal text, over `cuda.shares` and `cuda.device`. */
  gpuAllocMap(): Promise<Readonly<Record<string, string>>>;
  /** Capacity, what of it is taken and by which kernel. */
  resourceUsage(): AgentUsage;
  /** What of this agent's books is not as it must be; empty when all is well. */
  examine(): readonly string[];
  updateScalingGroup(group: string): Promise<void>;
  /** Destroys every kernel, returns ports and devices, and stays in service (design: "a working reset_agent"). */
  reset(signal: AbortSignal): Promise<void>;
  /** Ends the kernels too when asked to, then takes no new kernel. */
  shutdown(options: { readonly terminateKernels: boolean }, signal: AbortSignal): Promise<void>;

  createLocalNetwork(name: string): Promise<void>;
  destroyLocalNetwork(name: string): Promise<void>;

  /** Starts one background task an entry and returns its id (hyphenated UUID) under the same key. */
  checkAndPull(images: ReadonlyMap<string, ImagePullRequest>): Promise<ReadonlyMap<string, string>>;
  isPulling(canonical: string): boolean;
  /** Starts a background task and returns its id (hyphenated UUID); a local image is done at once. */
  pushImage(image: {
    readonly canonical: string;
    readonly isLocal: boolean;
    readonly registry: RegistryAccess | null;
  }): string;
  /** All at the same time; an image that cannot be deleted is an `error` text in its outcome, never an exception. */
  purgeImages(
    canonicals: readonly string[],
    options: { readonly force: boolean; readonly noprune: boolean },
  ): Promise<readonly ImagePurgeOutcome[]>;
  /** Makes an image of the kernel in a background task; a second commit of a kernel beside the first does nothing. */
  commit(commit: KernelCommit): Promise<{ readonly taskId: string; readonly path: string | null }>;
  commitStatus(kernelId: KernelId, subdir: string): Promise<'ready' | 'ongoing'>;

  /** @throws PortPoolExhaustedError */
  assignPort(): Promise<number>;
  releasePort(port: number): Promise<void>;

  /** Idempotent by kernel id: a repeat joins the running creation or returns what the first one made. */
  createKernels(
    requests: readonly KernelCreationRequest[],
    signal: AbortSignal,
  ): Promise<readonly KernelCreationResult[]>;
  /**
   * What creations of these requests would ask of the backend, with what is free now; makes and keeps nothing. Values
   * of the requests' variables are left out unless `showSecrets`.
   * @throws what a creation would throw before it makes anything; NotImplementedError of a backend that cannot tell.
   */
  previewKernels(
    requests: readonly KernelCreationRequest[],
    options: { readonly showSecrets: boolean },
  ): Promise<readonly KernelPreview[]>;
  restartKernel(
    restart: {
      readonly sessionId: SessionId;
      readonly kernelId: KernelId;
      readonly imageRef: KernelImageRef;
      readonly updatedConfig: Readonly<Record<string, unknown>>;
    },
    signal: AbortSignal,
  ): Promise<KernelRestartResult>;
  /** Resolves when the kernel is gone and cleaned; unknown kernels are announced as terminated and succeed. */
  destroyKernel(destroy: {
    readonly kernelId: KernelId;
    readonly sessionId: SessionId;
    readonly reason: string | null;
    readonly suppressEvents: boolean;
  }): Promise<void>;
  isCreating(kernelId: KernelId): boolean;
  isRunning(kernelId: KernelId): boolean;
  /** Null when the runner does not answer. */
  pingKernel(kernelId: KernelId, signal: AbortSignal): Promise<{ readonly startedAtSec: number } | null>;
  syncKernelRegistry(known: readonly KernelSessionPair[]): Promise<void>;
  purgeContainers(
    containers: readonly { readonly containerId: ContainerId; readonly kernelId: KernelId }[],
  ): Promise<void>;
  dropKernelRegistry(kernelIds: readonly KernelId[]): Promise<void>;

  /** @throws RuntimeError for a kernel that is not here (spec/kernel-runner.md 3.3). */
  execute(
    kernelId: KernelId,
    request: Omit<ExecutionRequest, 'signal'>,
    signal: AbortSignal,
  ): Promise<ExecutionResult>;
  /** Starts the job and returns; its outcome is an event (spec/kernel-runner.md 3.10). */
  triggerBatchExecution(batch: {
    readonly kernelId: KernelId;
    readonly sessionId: SessionId;
    readonly code: string;
    readonly timeoutMs: number | null;
  }): Promise<void>;
  interruptKernel(kernelId: KernelId): Promise<void>;
  complete(
    kernelId: KernelId,
    text: string,
    options: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<readonly unknown[] | null>;
  logs(kernelId: KernelId): Promise<string>;

  startService(
    kernelId: KernelId,
    service: string,
    options: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<ServiceStatus>;
  /** Fire and forget; an unknown kernel is only logged. */
  shutdownService(kernelId: KernelId, service: string): Promise<void>;

  uploadFile(kernelId: KernelId, path: string, data: Uint8Array): Promise<void>;
  /** A tar archive, at most 1 MiB. */
  downloadFile(kernelId: KernelId, path: string): Promise<Uint8Array>;
  downloadSingle(kernelId: KernelId, path: string): Promise<Uint8Array>;
  listFiles(kernelId: KernelId, path: string): Promise<FileListing>;
}

export interface ImagePurgeOutcome {
  readonly image: string;
  /** Null: it is gone. */
  readonly error: string | null;
}

/** spec/kernel-lifecycle.md 4.2. */
export interface KernelCommit {
  readonly kernelId: KernelId;
  /** Directory below the image commit path. */
  readonly subdir: string;
  /** Name and tag of the new image. */
  readonly canonical: string | null;
  /** File in `subdir` that gets the image as tar.gz; the image itself is deleted then. */
  readonly filename: string | null;
  readonly extraLabels: Readonly<Record<string, string>>;
}

export interface KernelSessionPair {
  readonly kernelId: KernelId;
  readonly sessionId: SessionId;
}

/** spec/rpc-functions.md 3.1: all three keys always present. */
export interface HardwareHealth {
  readonly status: 'healthy' | 'degraded' | 'offline' | 'unavailable';
  readonly statusInfo: string | null;
  readonly metadata: Readonly<Record<string, string>>;
}

/** spec/kernel-runner.md 2.4. */
export type ServiceStatus =
  { readonly status: 'started' | 'running' } | { readonly status: 'failed'; readonly error: string };
