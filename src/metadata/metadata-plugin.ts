import type { AgentId, ContainerId, KernelId, SessionId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';

/**
 * Further values of the metadata server, below `/latest/extension/<name>` (spec/kernel-lifecycle.md 7). See
 * docs/guides/write-a-metadata-plugin.md.
 *
 * One plugin serves all agents of the process and all their kernels at the same time.
 */
export interface MetadataPlugin {
  /** Part of the path: letters, digits, `-`, `_` and `.`. */
  readonly name: string;
  /** Its values below its name, such as `token` or `license/server`. Asked for once. */
  readonly paths: readonly string[];
  /**
   * The value of one path for the kernel that asks, within four seconds; null: this kernel has none. Who asks is known
   * by the address that the connection comes from. What is thrown is logged, and the kernel may try again.
   */
  read(path: string, kernel: MetadataKernel): Promise<MetadataValue | null>;
  /**
   * All its settings, when one of them has changed in the store. Takes what it can and names those that need a restart.
   * Absent: all do.
   */
  updateSettings?(settings: Readonly<Record<string, string>>): Promise<readonly string[]>;
  /** The daemon stops; kernels go on running. */
  close?(): Promise<void>;
}

/** The kernel that asks. */
export interface MetadataKernel {
  readonly agentId: AgentId;
  readonly kernelId: KernelId;
  readonly sessionId: SessionId;
  readonly containerId: ContainerId;
  /** Of the container, as this machine sees it. */
  readonly address: string;
  readonly clusterRole: string;
  readonly clusterHostname: string;
}

/** Of a mebibyte at most. */
export interface MetadataValue {
  readonly contentType: 'application/json' | 'text/plain';
  readonly body: string;
}

/** The default export of a package with a metadata plugin. */
export interface MetadataPluginFactory {
  readonly apiVersion: 1;
  readonly kind: 'metadata';
  /** Undefined: there is nothing to tell on this machine. */
  create(context: {
    readonly settings: Readonly<Record<string, string>>;
    readonly logger: Logger;
  }): Promise<MetadataPlugin | undefined>;
}
