import type { AgentId, ContainerId, KernelId, SessionId } from '../core/ids.js';

/**
 * What the kernel lifecycle asks of whatever runs kernels.
 *
 * The contract leaves out on purpose: container engine types, RPC values, resource bookkeeping and events. A verb is
 * idempotent: "already stopped" and "no such container" are success, every other failure rejects. One suite,
 * `tests/contract/backend.contract.ts`, runs against every implementation.
 */
export interface KernelBackend {
  readonly kind: BackendKind;
  /** Kernels have no network of their own, whatever is planned: a service listens on its host port. Absent: they have. */
  readonly isOnHostNetwork?: true;

  /** Checks that the backend can work on this machine and watches its kernels. Idempotent. */
  open(): Promise<void>;
  /**
   * Lets go of everything held in this process, after the verbs that are under way. Kernels go on running. Idempotent.
   */
  close(): Promise<void>;

  readonly images: BackendImages;
  readonly networks: BackendNetworks;
  readonly files: BackendFiles;

  /**
   * Makes the container without starting it. A failure leaves nothing behind.
   * @throws an error with code `BACKEND_KERNEL_EXISTS` when the kernel has a container already, alive or dead.
   */
  create(plan: KernelPlan, signal: AbortSignal): Promise<KernelHandle>;
  /**
   * What `create` and `start` would do with the plan, in the backend's own words: for people and for `plan_kernel`.
   * Makes nothing. Absent: the backend has nothing to tell.
   */
  describe?(plan: KernelPlan): Promise<Readonly<Record<string, unknown>>>;
  /**
   * Starts the container; the runner inside may need a moment until it answers. A start that fails or is cancelled
   * leaves the container created, never half started. Starting a running one gives its endpoints and changes nothing;
   * an ended one is started again.
   * @throws an error with code `BACKEND_KERNEL_MISSING` when the container is gone. When host ports of the plan are in
   * use by something else, `details.takenPorts` of the error names them.
   */
  start(handle: KernelHandle, signal: AbortSignal): Promise<RunnerEndpoints>;
  /**
   * Asks the container to stop, kills it after the grace time, and resolves once all its processes are gone and its
   * exit is reported. A second call with less patience does not wait for the first.
   */
  stop(handle: KernelHandle, options: { readonly graceMs: number }): Promise<void>;
  /** Deletes the container, not the scratch directory; one that still runs is killed first. */
  remove(handle: KernelHandle): Promise<void>;
  /**
   * What became of a kernel known from the journal: for re-attaching after a restart of the daemon. One that was
   * created and never started is `exited` with an unknown status. The handle of an earlier container of a kernel that
   * was created anew is `missing`, and no verb touches the new container through it.
   */
  inspect(handle: KernelHandle): Promise<KernelProcessState>;
  /** Handles of all kernels of one agent that this backend can find by their owner label, alive or dead. */
  list(owner: AgentId): Promise<readonly KernelHandle[]>;
  /**
   * What a kernel was made of, as far as the backend still knows: for kernels that nobody has a record of. Null when
   * it is gone. Absent: the backend keeps nothing.
   */
  details?(handle: KernelHandle): Promise<KernelDetails | null>;
  /**
   * Makes an image of the container's files as they are now and returns its id. Stopping or removing the kernel
   * meanwhile makes it fail cleanly.
   * @throws an error with code `NOT_IMPLEMENTED` where there are no images.
   */
  commit(handle: KernelHandle, image: CommittedImage, signal: AbortSignal): Promise<string>;
  /** The last `maxBytes` of what the container wrote to its stdout and stderr. */
  logs(handle: KernelHandle, options: { readonly maxBytes: number }): Promise<Uint8Array>;
  /**
   * Where the system counts what running kernels use; those that do not run are left out. One look at the machine
   * serves all of them. Absent: nobody can tell.
   */
  usageSources?(handles: readonly KernelHandle[]): Promise<ReadonlyMap<KernelId, UsageSource>>;
  /**
   * Whose container has this address on one of its networks right now; null when none has, or more than one. A
   * connection from the address comes from that container. Absent: kernels have no addresses of their own.
   */
  kernelAt?(address: string): Promise<KernelHandle | null>;
  /** Reports each exit of a running kernel exactly once, also of kernels found again by `inspect`. Returns an unsubscribe function. */
  onExit(listener: (exit: KernelExit) => void): () => void;
  /**
   * Reports that the system has killed a process of a running kernel for lack of memory; the kernel goes on unless its
   * first process was the one. Returns an unsubscribe function. Absent: nobody can tell.
   */
  onOom?(listener: (handle: KernelHandle) => void): () => void;
}

export type BackendKind = 'process' | 'docker' | 'dummy';

/** Versioned and serialisable: goes into the journal before the reply leaves, and comes back after a restart. */
export interface KernelHandle {
  readonly version: 1;
  readonly backend: BackendKind;
  readonly agentId: AgentId;
  readonly kernelId: KernelId;
  readonly sessionId: SessionId;
  readonly containerId: ContainerId;
  /** The backend's own facts as JSON; nobody else reads them. */
  readonly state: Readonly<Record<string, unknown>>;
}

export interface RunnerEndpoints {
  /** ZeroMQ endpoint the runner PULLs requests from, for example `ipc:///…/in.sock` or `tcp://127.0.0.1:30000`. */
  readonly replIn: string;
  /** ZeroMQ endpoint the runner PUSHes results to. */
  readonly replOut: string;
  /**
   * Milliseconds for which whoever sends one of the messages without an answer waits before going on. Absent: nobody
   * waits. For load tests.
   */
  readonly noticesTakeMs?: { readonly interrupt: number; readonly shutdownService: number };
}

/** spec/kernel-lifecycle.md 9.3 R2, R12. Null: not known. */
export interface KernelDetails {
  /** Its scratch directory on this machine, `<scratch-root>/<kernel id>`. */
  readonly scratch: string | null;
  /** Its own labels and those of its image. */
  readonly labels: Readonly<Record<string, string>>;
  readonly image: string | null;
  readonly hostname: string | null;
  readonly environment: Readonly<Record<string, string>>;
  readonly published: readonly { readonly containerPort: number; readonly hostPort: number }[];
  /** The network of its session by name, `host` for the machine's; null also for the engine's own. */
  readonly network: string | null;
  readonly shmBytes: number | null;
  readonly createdAtMs: number | null;
}

export interface UsageSource {
  /** The kernel's processes, by the ids that they have for this process. */
  readonly pids: readonly number[];
  /** Cgroup directories of this kernel alone, version 1 or 2; a counter is looked for in each of them. */
  readonly cgroups: readonly string[];
  /** A file in the form of `/proc/net/dev` with the traffic of this kernel alone. Absent: nobody counts it. */
  readonly trafficFile?: string;
}

export type KernelProcessState =
  | { readonly status: 'running'; readonly endpoints: RunnerEndpoints }
  | { readonly status: 'exited'; readonly exitCode: number | null; readonly detail: string }
  | { readonly status: 'missing' };

export interface KernelExit {
  readonly handle: KernelHandle;
  /** Exit status, negative signal number when killed, null when nobody can tell. */
  readonly exitCode: number | null;
  readonly oomKilled: boolean;
  readonly detail: string;
}

/** Everything the backend must know to make one container; produced by the pure `kernels/lifecycle/plan`. */
export interface KernelPlan {
  readonly agentId: AgentId;
  readonly kernelId: KernelId;
  readonly sessionId: SessionId;
  readonly imageCanonical: string;
  /** Built on this machine: it has no registry, and is known to the engine by its short name. */
  readonly imageIsLocal: boolean;
  readonly runtimeType: string;
  readonly runtimePath: string | null;
  /** Complete environment of the kernel; the backend adds only what it alone knows. */
  readonly environment: Readonly<Record<string, string>>;
  readonly scratch: ScratchPaths;
  readonly labels: Readonly<Record<string, string>>;
  readonly hostname: string;
  readonly limits: KernelLimits;
  readonly identity: {
    readonly uid: number | null;
    readonly gid: number | null;
    readonly supplementaryGids: readonly number[];
  };
  readonly mounts: readonly PlannedMount[];
  /**
   * Further ones that only containers need, as kernels without a mount namespace see the machine's own files: sockets of
   * this machine, hooks and files of devices. Absent: none.
   */
  readonly containerMounts?: readonly PlannedMount[];
  /** May the kernel's user become root? */
  readonly isSudoEnabled: boolean;
  /** What the allocated devices ask of a container engine, in its words (spec/config-and-resources.md 4.3); the process backend ignores it. */
  readonly deviceArguments: Readonly<Record<string, unknown>>;
  /** Networks of the allocated devices, joined after the start. Absent: none. */
  readonly deviceNetworks?: readonly string[];
  /** System calls that the allocated devices need beyond a seccomp profile. Absent: none. */
  readonly allowedSyscalls?: readonly string[];
  readonly ports: readonly PlannedPort[];
  readonly replInPort: number;
  readonly replOutPort: number;
  /** Absent: the backend's default network. A backend whose kernels share the machine's network ignores it. */
  readonly network?: PlannedNetwork;
  /** The agent's own network (`container.alternative-bridge`), beside that of the session. Absent: the engine's, or the session's. */
  readonly alternativeBridge?: string;
}

/** spec/kernel-lifecycle.md 2.12, 2.14 */
export type PlannedNetwork =
  | {
      /** A network that exists, bridge or overlay. */
      readonly mode: 'named';
      readonly name: string;
      /** What the other kernels of the session find this one by. */
      readonly aliases: readonly string[];
      /** It spans machines: an overlay. Absent: it does not. */
      readonly spansMachines?: boolean;
    }
  | {
      /** The machine's own: no port is translated, the runner listens on `replInPort` and `replOutPort` themselves. */
      readonly mode: 'host';
      /** Names of the other kernels, with their addresses. */
      readonly hosts: Readonly<Record<string, string>>;
    }
  | {
      /** What a network plugin asks for. */
      readonly mode: 'options';
      /** Part of what a container engine is asked for, in its words; merged into the rest. */
      readonly containerOptions: Readonly<Record<string, unknown>>;
      /** Whoever asks for it opens the ports on this machine; the engine publishes none. */
      readonly publishesPorts: boolean;
    };

/** Laid out as in spec/kernel-lifecycle.md 2.8. */
export interface ScratchPaths {
  /** `<scratch-root>/<kernel id>` */
  readonly root: string;
  readonly config: string;
  readonly work: string;
  /** What kernels get as `/tmp`; absent: nothing of ours. */
  readonly tmp?: string;
}

export interface KernelLimits {
  /** Ids of the cores the kernel may run on. */
  readonly cpuCores: readonly number[];
  readonly memoryBytes: number;
  readonly shmBytes: number;
}

export interface PlannedMount {
  readonly source: string;
  /** What of this machine the kernel reaches through the source, where that is a relay. Absent: the source itself. */
  readonly behind?: string;
  readonly target: string;
  readonly permission: 'ro' | 'rw';
}

export interface PlannedPort {
  readonly name: string;
  readonly containerPort: number;
  readonly hostPort: number;
  readonly bindHost: string;
}

/** Where there are no images: all are available, none is listed, and what works on one throws `NOT_IMPLEMENTED`. */
export interface BackendImages {
  /** Is the image usable right now under this policy? The process backend needs no image: always true. */
  isAvailable(image: ImageRequest): Promise<boolean>;
  /** Pulls the image; joined per image by the backend. */
  pull(image: ImageRequest, signal: AbortSignal, onProgress?: TransferListener): Promise<void>;
  /** Resolves when the registry has everything. */
  push(image: ImageUpload, signal: AbortSignal, onProgress?: TransferListener): Promise<void>;
  /** The images that kernels can be made of, one entry a tag (spec/kernel-lifecycle.md 5.3). */
  list(): Promise<readonly InstalledImage[]>;
  /** The command that the image sets (`Cmd`); empty when it sets none. Absent: images have no commands. */
  command?(image: Pick<ImageRequest, 'canonical' | 'isLocal'>): Promise<readonly string[]>;
  /** By name or id. @throws when it is in use and `force` is off, and when it is not there. */
  remove(
    name: string,
    options: { readonly force: boolean; readonly isPruningParents: boolean },
  ): Promise<void>;
  /** The image as a tar archive, in the engine's order; ends with an error when the signal does. */
  export(id: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

/** How far a transfer is, in bytes, or in layers where bytes are unknown; `total` 0: nobody can tell yet. */
export type TransferListener = (progress: {
  readonly current: number;
  readonly total: number;
  readonly message: string;
}) => void;

export interface InstalledImage {
  /** Name and tag as the engine has them. */
  readonly canonical: string;
  /** The image id, `sha256:` and 64 hex digits: the digest of its configuration. */
  readonly digest: string;
  /** `x86_64`, `aarch64`, … */
  readonly architecture: string;
}

export interface CommittedImage {
  /** Name and tag of the new image; null: it has only its id. */
  readonly canonical: string | null;
  readonly labels: Readonly<Record<string, string>>;
}

export interface ImageUpload {
  readonly canonical: string;
  readonly registry: RegistryAccess | null;
}

export interface ImageRequest {
  readonly canonical: string;
  readonly digest: string;
  readonly architecture: string;
  readonly isLocal: boolean;
  readonly autoPull: 'digest' | 'tag' | 'none';
  readonly registry: RegistryAccess | null;
}

export interface RegistryAccess {
  readonly name: string;
  readonly username: string | null;
  readonly password: string | null;
}

export interface BackendNetworks {
  /** Idempotent. */
  createLocal(name: string): Promise<void>;
  /** Idempotent: a missing network is fine. */
  destroyLocal(name: string): Promise<void>;
}

/**
 * Files below the kernel's `/home/work`. Paths are as the caller gave them; one that leads outside, by `..`, as an
 * absolute path or through a symbolic link, is refused with PermissionError (spec/rpc-functions.md 3.9.3).
 */
export interface BackendFiles {
  upload(handle: KernelHandle, path: string, data: Uint8Array): Promise<void>;
  /** A tar archive of the file or directory. @throws ValueError above `maxBytes`. */
  downloadArchive(handle: KernelHandle, path: string, maxBytes: number): Promise<Uint8Array>;
  /** The content of one file. @throws ValueError for a directory or above `maxBytes`. */
  downloadSingle(handle: KernelHandle, path: string, maxBytes: number): Promise<Uint8Array>;
  list(handle: KernelHandle, path: string): Promise<FileListing>;
}

export interface FileListing {
  readonly entries: readonly FileEntry[];
  /** What went wrong, as text for the user; empty when nothing did. A missing directory is not an exception. */
  readonly errors: string;
}

export interface FileEntry {
  readonly filename: string;
  /** As `ls -l` shows it, for example `drwxr-xr-x`. */
  readonly mode: string;
  readonly sizeBytes: number;
  readonly ctimeMs: number;
  readonly mtimeMs: number;
  readonly atimeMs: number;
}
