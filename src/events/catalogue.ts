import type { AgentId, ContainerId, KernelId, SessionId } from '../core/ids.js';
import type { KernelCreationResult } from '../kernels/requests.js';

/**
 * Everything an agent announces, in this program's own words; encodings and transport are `events/`'s business
 * (spec/events-and-stores.md 3.5). A new event gets a member here and nothing else to begin with.
 */
export type AgentEvent =
  | { readonly name: 'agent_started'; readonly reason: string }
  | { readonly name: 'agent_terminated'; readonly reason: string }
  | {
      readonly name: 'agent_error';
      readonly message: string;
      readonly traceback: string | null;
    }
  | { readonly name: 'do_agent_resource_check' }
  | {
      readonly name: 'agent_installed_images_remove';
      readonly images: readonly InstalledImage[];
    }
  | {
      readonly name: 'agent_status_heartbeat';
      readonly containers: readonly {
        readonly containerId: ContainerId;
        readonly kernelId: KernelId;
        readonly status: string;
      }[];
      readonly kernels: readonly { readonly kernelId: KernelId; readonly containerId: ContainerId | null }[];
    }
  | { readonly name: 'agent_heartbeat'; readonly info: AgentInfo }
  | ImageEvent
  | KernelEvent
  | {
      readonly name: 'session_success' | 'session_failure';
      readonly sessionId: SessionId;
      readonly reason: string;
      readonly exitCode: number;
    }
  | {
      readonly name: 'execution_started' | 'execution_finished' | 'execution_timeout';
      readonly sessionId: SessionId;
    }
  | { readonly name: 'do_sync_kernel_logs'; readonly kernelId: KernelId; readonly containerId: ContainerId }
  | {
      readonly name: 'model_service_status_updated';
      readonly sessionId: SessionId;
      readonly status: 'healthy' | 'unhealthy';
    }
  | BackgroundTaskEvent
  | VolumeEvent
  | ServiceDiscoveryEvent;

export interface InstalledImage {
  readonly canonical: string;
  /** Image id of the engine, `sha256:…`. */
  readonly digest: string;
  readonly architecture: string;
}

/** What a heartbeat tells about its agent (spec/events-and-stores.md 4.2). */
export interface AgentInfo {
  /** Host part of the address that managers dial. */
  readonly host: string;
  /** `tcp://host:port` */
  readonly address: string;
  readonly region: string;
  readonly scalingGroup: string;
  /** Z85 text; null without CURVE. */
  readonly publicKey: string | null;
  readonly publicHost: string;
  /** Slot name -> decimal text. */
  readonly availableSlots: Readonly<Record<string, string>>;
  /** Slot name -> `count`, `bytes` or `unique`. */
  readonly slotTypes: Readonly<Record<string, string>>;
  /** The product version that is spoken, for example `25.17.1`. */
  readonly version: string;
  /** Plugin key -> plain JSON values. */
  readonly computePlugins: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly images: readonly InstalledImage[];
  readonly architecture: string;
  readonly autoTerminateAbusingKernel: boolean;
}

export type ImageEvent =
  | { readonly name: 'image_pull_started'; readonly image: string; readonly timestampMs: number }
  | {
      readonly name: 'image_pull_finished';
      readonly image: string;
      readonly timestampMs: number;
      readonly message: string | null;
    }
  | { readonly name: 'image_pull_failed'; readonly image: string; readonly message: string };

/** The kernel's own story. These are never dropped, and their order per kernel is kept (design, decision 9). */
export type KernelEvent =
  | {
      readonly name: 'kernel_preparing' | 'kernel_pulling' | 'kernel_creating';
      readonly kernelId: KernelId;
      readonly sessionId: SessionId;
      /** The image's canonical name for `kernel_pulling`, else empty. */
      readonly reason: string;
    }
  | {
      readonly name: 'kernel_started';
      readonly kernelId: KernelId;
      readonly sessionId: SessionId;
      readonly reason: string;
      readonly creation: KernelCreationResult;
    }
  | {
      readonly name: 'kernel_terminated';
      readonly kernelId: KernelId;
      readonly sessionId: SessionId;
      readonly reason: string;
      /** -1 when unknown. */
      readonly exitCode: number;
    };

export type BackgroundTaskEvent =
  | {
      readonly name: 'bgtask_updated';
      readonly taskId: string;
      readonly current: number;
      readonly total: number;
      readonly message: string | null;
    }
  | {
      readonly name: 'bgtask_done' | 'bgtask_cancelled' | 'bgtask_failed';
      readonly taskId: string;
      readonly message: string | null;
    };

/** What became of a volume that somebody asked to mount or unmount (spec/events-and-stores.md 3.8). */
export interface VolumeEvent {
  readonly name: 'volume_mounted' | 'volume_unmounted';
  /** Empty when nothing was done here. */
  readonly mountPath: string;
  /** `user:<uuid>` or `project:<uuid>`, as it was asked with. */
  readonly quotaScopeId: string;
  /** Null when it is done. */
  readonly errorMessage: string | null;
}

/** This process as one of a group of services; managers before 26.x do not know it (spec/events-and-stores.md 8.1). */
export type ServiceDiscoveryEvent =
  | {
      readonly name: 'service_registered';
      readonly instanceId: string;
      readonly serviceGroup: string;
      readonly displayName: string;
      readonly version: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly endpoints: readonly ServiceEndpoint[];
      readonly startedAtMs: number;
    }
  | { readonly name: 'service_deregistered'; readonly instanceId: string; readonly serviceGroup: string };

export interface ServiceEndpoint {
  readonly role: string;
  readonly scope: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: string;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** Where an agent's events go in. */
export interface EventSink {
  /**
   * Takes the event over. Resolves once it can no longer be lost: for a lifecycle event, when it is on disk where
   * the implementation is durable. Never rejects because the other side is away, only if the disk fails as well.
   *
   * `occurrence` names what happened, once and for all: under a name that was published before, also by an earlier
   * process, nothing is published again.
   */
  publish(source: AgentId, event: AgentEvent, occurrence?: string): Promise<void>;
}
