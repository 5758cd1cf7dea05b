import type { KernelHandle, KernelProcessState } from '../../backends/backend.js';
import { mapBounded, within } from '../../core/async.js';
import { messageOf } from '../../core/errors.js';
import type { ContainerId, KernelId } from '../../core/ids.js';
import type { KeyedQueue } from '../../core/keyed-queue.js';
import type { Kernel } from '../kernel.js';
import type { BackgroundWork } from './background-work.js';
import type { CreationBoard } from './creation-board.js';
import type { KernelEndings } from './endings.js';
import type { LifecycleParts } from './parts.js';
import { announceTermination, removeStray, strayOccurrence } from './terminate.js';
import { TIME_LIMITS } from './time-limits.js';

/** What a comparison finds wrong with one kernel. */
export interface SyncVerdict {
  readonly reason: 'self-terminated' | 'container-not-found' | 'terminated-unknown-container';
  readonly exitCode: number | null;
  /** How a container ended, in the backend's words. */
  readonly detail?: string;
}

/** Pure: a registered kernel that is taken to run. `found` is null when the backend could not say. */
export function judgeKernel(found: KernelProcessState | null): SyncVerdict | null {
  switch (found?.status) {
    case undefined:
    case 'running':
      return null;
    case 'exited':
      return { reason: 'self-terminated', exitCode: found.exitCode, detail: found.detail };
    case 'missing':
      return { reason: 'container-not-found', exitCode: null };
  }
}

/** Pure: all containers of one kernel that is not registered; those that the backend could not tell of stay. */
export function judgeStrays(found: readonly (KernelProcessState | null)[]): SyncVerdict | null {
  if (found.some((one) => one?.status === 'running'))
    return { reason: 'terminated-unknown-container', exitCode: null };
  const exited = found.find((one) => one?.status === 'exited');
  return exited?.status === 'exited' ? { reason: 'self-terminated', exitCode: exited.exitCode } : null;
}

export interface SyncReport {
  /** Kernels whose end this round began. */
  readonly ended: readonly { readonly kernelId: KernelId; readonly reason: SyncVerdict['reason'] }[];
  /** Own containers that run, whoever they belong to; one that the backend cannot tell of is taken to run. */
  readonly activeContainers: number;
}

/** What one round has seen of containers; null: the backend could not say. */
type SeenStates = Map<ContainerId, KernelProcessState | null>;

interface BackendSyncParts {
  readonly parts: LifecycleParts;
  readonly queue: KeyedQueue<KernelId>;
  readonly creations: CreationBoard;
  readonly endings: KernelEndings;
  readonly background: BackgroundWork;
}

const INSPECTIONS_AT_ONCE = 4;

/**
 * Compares the agent's containers with its registry (spec/kernel-lifecycle.md 5.4): the net below the exit reports of
 * the backend, for what no report tells. Kernels that are being created, restarted or ended are left alone, and what
 * was seen is looked at again in the kernel's own queue before anything is ended.
 */
export class BackendSync {
  readonly #sync: BackendSyncParts;
  /** Strays whose end is under way. */
  readonly #ending = new Set<KernelId>();

  constructor(sync: BackendSyncParts) {
    this.#sync = sync;
  }

  /** Does not wait for the ends that it begins. @throws when the backend cannot list its containers. */
  async round(): Promise<SyncReport> {
    const { parts } = this.#sync;
    const handles = await parts.backend.list(parts.agentId);
    const seen: SeenStates = new Map();
    const ended = [...(await this.#endLostKernels(seen)), ...(await this.#endStrays(handles, seen))];
    // Those of kernels that are being created, restarted or ended.
    const others = handles.filter(({ containerId }) => !seen.has(containerId));
    await mapBounded(others, INSPECTIONS_AT_ONCE, (handle) => this.#inspect(handle, seen));
    const active = handles.filter(
      ({ containerId }) => (seen.get(containerId)?.status ?? 'running') === 'running',
    );
    return { ended, activeContainers: active.length };
  }

  async #endLostKernels(seen: SeenStates): Promise<SyncReport['ended']> {
    const { parts, endings } = this.#sync;
    const ended: SyncReport['ended'][number][] = [];
    const running = [...parts.registry].filter(isSettled);
    await mapBounded(running, INSPECTIONS_AT_ONCE, async (kernel) => {
      const { handle } = kernel;
      if (!handle) return;
      const verdict = judgeKernel(await this.#inspect(handle, seen));
      // The question took time: the kernel may have ended or have a new container by now.
      if (!verdict || kernel.handle !== handle || !isSettled(kernel)) return;
      if (parts.registry.find(kernel.id) !== kernel) return;
      parts.logger.warn('a kernel has ended unheard', { kernelId: kernel.id, ...verdict });
      endings.begin(kernel, verdict, 'cannot end a kernel whose container is gone');
      ended.push({ kernelId: kernel.id, reason: verdict.reason });
    });
    return ended;
  }

  async #endStrays(handles: readonly KernelHandle[], seen: SeenStates): Promise<SyncReport['ended']> {
    const { parts, queue, creations, background } = this.#sync;
    const strays = new Map<KernelId, KernelHandle[]>();
    for (const handle of handles)
      if (!creations.isCreating(handle.kernelId) && !this.#ending.has(handle.kernelId))
        strays.set(handle.kernelId, [...(strays.get(handle.kernelId) ?? []), handle]);
    const ended: SyncReport['ended'][number][] = [];
    for (const [kernelId, own] of strays) {
      const verdict = await this.#judge(own, seen);
      // One with a record could not be taken over at the start; its record is kept for whoever repairs that.
      if (!verdict || (await parts.journal.has(kernelId))) continue;
      this.#ending.add(kernelId);
      background.begin(
        'cannot end an own container that no kernel owns',
        () =>
          queue
            .run(kernelId, () => this.endStray(kernelId, own))
            .finally(() => {
              this.#ending.delete(kernelId);
            }),
        { kernelId },
      );
      ended.push({ kernelId, reason: verdict.reason });
    }
    return ended;
  }

  /** What is still there of a kernel that is not registered, looked at again. For work in the kernel's queue. */
  async endStray(kernelId: KernelId, own: readonly KernelHandle[]): Promise<void> {
    const { parts, creations } = this.#sync;
    // Its kernel may have been ending while the list was made, or be asked for anew.
    if (creations.isCreating(kernelId)) return;
    const verdict = await this.#judge(own);
    const [first] = own;
    if (!verdict || !first || creations.isCreating(kernelId)) return;
    parts.logger.warn('an own container belongs to no kernel of this agent; it is removed', {
      kernelId,
      reason: verdict.reason,
    });
    for (const handle of own) await removeStray(parts, handle);
    // As at a start, which may be the next to look at what a crash leaves of this.
    const occurrence = strayOccurrence(first);
    await announceTermination(parts, first, verdict.reason, verdict.exitCode ?? -1, occurrence);
  }

  async #judge(own: readonly KernelHandle[], seen?: SeenStates): Promise<SyncVerdict | null> {
    return judgeStrays(await mapBounded(own, INSPECTIONS_AT_ONCE, (handle) => this.#inspect(handle, seen)));
  }

  async #inspect(handle: KernelHandle, seen?: SeenStates): Promise<KernelProcessState | null> {
    const state = await this.#ask(handle);
    seen?.set(handle.containerId, state);
    return state;
  }

  async #ask(handle: KernelHandle): Promise<KernelProcessState | null> {
    const { backend, logger } = this.#sync.parts;
    try {
      return await within(backend.inspect(handle), {
        timeoutMs: TIME_LIMITS.inspectMs,
        what: `inspecting container ${handle.containerId}`,
      });
    } catch (error) {
      logger.warn('cannot inspect a container; it is left alone', {
        kernelId: handle.kernelId,
        containerId: handle.containerId,
        error: messageOf(error),
      });
      return null;
    }
  }
}

/** Nobody is making, restarting or ending it. */
const isSettled = ({ state, termination }: Kernel): boolean =>
  state.name === 'running' && termination === null;
