import type { ContainerId, KernelId, SessionId } from '../../core/ids.js';
import type { KeyedQueue } from '../../core/keyed-queue.js';
import type { Kernel } from '../kernel.js';
import type { BackgroundWork } from './background-work.js';
import type { CreationBoard } from './creation-board.js';
import type { KernelEndings } from './endings.js';
import type { LifecycleParts } from './parts.js';
import { ALREADY_TERMINATED, announceTermination, removeStray } from './terminate.js';

interface ManagerSyncParts {
  readonly parts: LifecycleParts;
  readonly queue: KeyedQueue<KernelId>;
  readonly creations: CreationBoard;
  readonly endings: KernelEndings;
  readonly background: BackgroundWork;
}

const NOT_FOUND_IN_MANAGER = 'not-found-in-manager';

/** Brings one agent's kernels in line with what the manager knows (spec/rpc-functions.md 3.6). */
export class ManagerSync {
  readonly #sync: ManagerSyncParts;

  constructor(sync: ManagerSyncParts) {
    this.#sync = sync;
  }

  /** See `KernelLifecycle.sync`. */
  async compare(
    known: readonly { readonly kernelId: KernelId; readonly sessionId: SessionId }[],
  ): Promise<void> {
    const { parts, creations } = this.#sync;
    const listed = new Set(known.map(({ kernelId }) => kernelId));
    for (const kernel of parts.registry)
      if (!listed.has(kernel.id) && !creations.has(kernel.id)) this.#endUnknown(kernel);
    for (const pair of known)
      if (!creations.isCreating(pair.kernelId)) await announceTermination(parts, pair, ALREADY_TERMINATED);
  }

  /** See `KernelLifecycle.purge`. */
  purge(containers: readonly { readonly containerId: ContainerId; readonly kernelId: KernelId }[]): void {
    for (const { containerId, kernelId } of containers)
      this.#sync.background.begin('cannot purge a container', () => this.#purgeOne(containerId, kernelId), {
        kernelId,
      });
  }

  /** See `KernelLifecycle.drop`. */
  drop(kernelIds: readonly KernelId[]): void {
    const { registry, logger } = this.#sync.parts;
    for (const kernelId of kernelIds) {
      const kernel = registry.find(kernelId);
      if (kernel) this.#endUnknown(kernel);
      else logger.warn('kernel to drop is not here', { kernelId });
    }
  }

  async #purgeOne(containerId: ContainerId, kernelId: KernelId): Promise<void> {
    const { parts, queue } = this.#sync;
    const kernel = parts.registry.find(kernelId);
    if (kernel?.containerId === containerId) {
      this.#endUnknown(kernel);
      return;
    }
    const handles = await parts.backend.list(parts.agentId);
    const handle = handles.find((one) => one.containerId === containerId && one.kernelId === kernelId);
    if (handle) await queue.run(kernelId, () => removeStray(parts, handle));
  }

  #endUnknown(kernel: Kernel): void {
    this.#sync.endings.begin(
      kernel,
      { reason: NOT_FOUND_IN_MANAGER, suppressEvents: true },
      'cannot end a kernel that the manager does not know',
    );
  }
}
