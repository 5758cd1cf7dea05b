import type { PlannedNetwork } from '../../backends/backend.js';
import type { AgentId, KernelId, SessionId } from '../../core/ids.js';
import type { Logger } from '../../core/logger.js';

/**
 * What connects the kernels of a session (spec/kernel-lifecycle.md 2.12). The manager names one in `network_config.mode`;
 * `bridge` and no mode at all need none. See docs/guides/write-a-network-plugin.md.
 *
 * One plugin serves all agents of the process and all their kernels at the same time. Calls for one kernel follow one
 * another: `join`, `prepare`, the container starts, `expose`, the container goes, `leave`. After a restart of the kernel
 * they begin anew; after one of the daemon `leave` may come for kernels that this process never saw.
 */
export interface NetworkPlugin {
  /** As managers name it in `network_config.mode`. */
  readonly name: string;
  /**
   * What the container is made with. Must be repeatable. In a preview nothing may be made: only the answer counts.
   * What is thrown fails the creation.
   */
  join(member: NetworkMember, options: { readonly isPreview: boolean }): Promise<PlannedNetwork>;
  /** Before the container is made: the ports that it will listen on. Absent: nothing to do. */
  prepare?(member: NetworkMember, ports: readonly MemberPort[]): Promise<void>;
  /**
   * Once the container runs, for a plugin that takes the place of the engine's own network (the original's capability
   * GLOBAL): opens the ports, those of the runner (`replin`, `replout`) at the given ones of 127.0.0.1. Null: all are
   * where they were asked for.
   */
  expose?(member: NetworkMember, ports: readonly MemberPort[]): Promise<ExposedPorts | null>;
  /** The container is gone, or never came to be. Must be repeatable; what is thrown is logged. */
  leave?(member: NetworkMember): Promise<void>;
  /**
   * All its settings, when one of them has changed in the store. Takes what it can, for kernels to come, and names those
   * that need a restart. Absent: all do.
   */
  updateSettings?(settings: Readonly<Record<string, string>>): Promise<readonly string[]>;
  /** The daemon stops; kernels go on running. */
  close?(): Promise<void>;
}

/** One kernel, and what it is told of the others. */
export interface NetworkMember {
  readonly agentId: AgentId;
  readonly kernelId: KernelId;
  readonly sessionId: SessionId;
  readonly clusterRole: string;
  readonly clusterHostname: string;
  /** As the manager sent it; `network_name` is the usual key. */
  readonly networkConfig: Readonly<Record<string, unknown>>;
  /** Host name -> address and port of its SSH server. */
  readonly sshPorts: Readonly<Record<string, readonly [address: string, port: number]>>;
}

export interface MemberPort {
  /** Of the service; `replin` and `replout` are the runner's. */
  readonly name: string;
  readonly containerPort: number;
  readonly hostPort: number;
  /** Address of this machine. */
  readonly bindHost: string;
}

export interface ExposedPorts {
  /** Where clients find the kernel. Absent: where they would anyway. */
  readonly host?: string;
  /** Service -> container port -> port for clients. What is absent is where it was asked for. */
  readonly services?: Readonly<Record<string, Readonly<Record<number, number>>>>;
}

/** The default export of a package with a network plugin. */
export interface NetworkPluginFactory {
  readonly apiVersion: 1;
  readonly kind: 'network';
  /** Undefined: there is nothing to do on this machine. */
  create(context: {
    readonly settings: Readonly<Record<string, string>>;
    readonly logger: Logger;
  }): Promise<NetworkPlugin | undefined>;
}
