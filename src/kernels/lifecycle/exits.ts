import type { KernelExit, KernelHandle } from '../../backends/backend.js';
import { within } from '../../core/async.js';
import type { KernelId } from '../../core/ids.js';
import type { KeyedQueue } from '../../core/keyed-queue.js';
import type { Kernel } from '../kernel.js';
import type { BackendSync } from './backend-sync.js';
import type { CreationBoard } from './creation-board.js';
import type { KernelEndings } from './endings.js';
import type { LifecycleParts } from './parts.js';
import { TIME_LIMITS } from './time-limits.js';

interface ContainerExitsParts {
  readonly parts: LifecycleParts;
  readonly queue: KeyedQueue<KernelId>;
  readonly creations: CreationBoard;
  readonly endings: KernelEndings;
  readonly backendSync: BackendSync;
}

const SELF_TERMINATED = 'self-terminated';

/**
 * What the backend reports of containers that ended (spec/kernel-lifecycle.md 5): a kernel that is gone by itself, a
 * container that the agent ends anyway, an earlier container of a kernel, or one that no kernel owns.
 */
export class ContainerExits {
  readonly #exits: ContainerExitsParts;

  constructor(exits: ContainerExitsParts) {
    this.#exits = exits;
  }

  /** Resolves when nothing is left of what ended. @throws as `KernelEndings.order`, or when a stray cannot be removed. */
  async handle(exit: KernelExit): Promise<void> {
    const { handle } = exit;
    const kernel = this.#exits.parts.registry.find(handle.kernelId);
    if (kernel?.handle?.containerId === handle.containerId)
      await this.#endKernel(kernel, kernel.handle, exit);
    else await this.#endContainer(handle);
  }

  /** `current`: the container of now, as a backend may give a kernel's next container the id of the last one. */
  async #endKernel(kernel: Kernel, current: KernelHandle, exit: KernelExit): Promise<void> {
    const { parts, endings } = this.#exits;
    if (isExitExpected(kernel) || (await this.#isStillRunning(current))) return;
    // The question took time: the kernel may have gone its way meanwhile.
    if (kernel.handle !== current || isExitExpected(kernel)) return;
    const { exitCode, oomKilled, detail } = exit;
    parts.logger.warn(oomKilled ? 'a kernel has ended for lack of memory' : 'a kernel has ended by itself', {
      kernelId: kernel.id,
      exitCode,
      detail,
    });
    await endings.order(kernel, { reason: SELF_TERMINATED, exitCode, detail }, { kind: 'exited', detail });
  }

  /** One that nobody will ask for again (9.2 D12), unless a new one of the same kernel has taken its id. */
  async #endContainer(handle: KernelHandle): Promise<void> {
    const { parts, queue, creations, backendSync } = this.#exits;
    const { kernelId, containerId } = handle;
    await queue.run(kernelId, async () => {
      if (parts.registry.find(kernelId)?.containerId === containerId) return;
      if (await this.#isStillRunning(handle)) return;
      // An earlier container of a kernel just goes; of a kernel that is not here nobody has said yet that it is gone.
      if (creations.isCreating(kernelId)) await parts.backend.remove(handle);
      else await backendSync.endStray(kernelId, [handle]);
    });
  }

  /** The report may be older than what runs now. When the backend cannot tell, the report is believed. */
  async #isStillRunning(handle: KernelHandle): Promise<boolean> {
    try {
      const { status } = await within(this.#exits.parts.backend.inspect(handle), {
        timeoutMs: TIME_LIMITS.inspectMs,
        what: `inspecting container ${handle.containerId}`,
      });
      return status === 'running';
    } catch {
      return false;
    }
  }
}

/** The agent itself is ending this container. */
function isExitExpected(kernel: Kernel): boolean {
  return (
    kernel.termination !== null ||
    (kernel.state.name === 'restarting' &&
      (kernel.state.step === 'accepted' || kernel.state.step === 'stopping-container'))
  );
}
