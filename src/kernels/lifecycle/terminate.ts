import { basename, dirname } from 'node:path';
import type { KernelHandle } from '../../backends/backend.js';
import { within } from '../../core/async.js';
import { InvariantError, messageOf } from '../../core/errors.js';
import { KernelCleanupError } from '../errors.js';
import type { KernelId, SessionId } from '../../core/ids.js';
import type { Kernel } from '../kernel.js';
import { collectLogs } from './collect-logs.js';
import type { LifecycleParts } from './parts.js';
import { type PlannedRelay, planRelays, scratchOf } from './plan-mounts.js';
import { removeScratch } from './scratch.js';
import { StepWatch } from './step-watch.js';
import { TIME_LIMITS } from './time-limits.js';

/**
 * Ends a kernel that is marked as terminating and removes every trace of it, in the reverse order of the creation
 * (spec/kernel-lifecycle.md 3.4 to 3.6). Runs inside the kernel's queue and may be repeated after a failure.
 *
 * Resources and ports go back only after the container is gone: until then it may still use them.
 * @throws KernelCleanupError when the container could not be removed; the kernel then stays as it is.
 */
export async function endKernel(parts: LifecycleParts, kernel: Kernel): Promise<void> {
  const watch = new StepWatch(parts);
  try {
    await endStepByStep(parts, kernel, watch);
  } finally {
    watch.end();
  }
}

async function endStepByStep(parts: LifecycleParts, kernel: Kernel, watch: StepWatch): Promise<void> {
  const { termination } = kernel;
  if (!termination)
    throw new InvariantError(`kernel ${kernel.id} is to be ended but was not marked as terminating`);
  const logger = parts.logger.child({ kernelId: kernel.id });
  watch.enter('noting-end');
  await keep(parts, kernel);
  watch.enter('closing-link');
  await attempt('cannot close the link to the kernel runner', () =>
    within(parts.runners.disconnect(kernel.id), {
      timeoutMs: TIME_LIMITS.disconnectMs,
      what: 'closing the link to the kernel runner',
    }),
  );
  watch.enter('stopping');
  if (kernel.hasContainerInDoubt) await endContainersInDoubt(parts, kernel);
  const { handle } = kernel;
  if (handle)
    await endContainer(parts, handle, async () => {
      watch.enter('collecting-logs');
      await collectLogs(parts, handle);
      watch.enter('removing-container');
    });
  watch.enter('giving-back');
  // Before its ports are anybody else's.
  await parts.networks?.leave(parts.agentId, kernel.request, logger);
  parts.resources.free(kernel.id);
  parts.ports.releaseAll(kernel.id);
  const { relays } = parts;
  if (relays)
    await attempt('cannot close the domain socket proxies of a kernel', () =>
      relays.close(relaysOf(parts, kernel)),
    );
  const scratchGone = await attempt(
    'cannot remove the scratch directory; the next start of the agent tries again',
    () => removeScratch(scratchOf(parts, kernel)),
  );
  kernel.apply({ type: 'cleaned' });
  parts.registry.remove(kernel.id);
  watch.enter('announcing-end');
  // Without an announcement the record stays, and the next start of the agent makes up for it.
  if (!(await attempt('cannot announce the end of a kernel', () => announceEnd(parts, kernel)))) return;
  if (scratchGone) {
    await attempt('cannot remove a kernel from the journal', () => parts.journal.forget(kernel.id));
  } else {
    kernel.announced();
    await keep(parts, kernel);
  }

  async function attempt(failure: string, action: () => Promise<void>): Promise<boolean> {
    try {
      await action();
      return true;
    } catch (error) {
      logger.error(failure, { error: messageOf(error) });
      return false;
    }
  }
}

/**
 * Stops and removes a container; `afterStop`, which must not reject, comes in between. A stop that fails is no reason to keep it: the removal kills what still runs.
 * @throws KernelCleanupError when it could not be removed.
 */
export async function endContainer(
  { backend, logger, settings }: Pick<LifecycleParts, 'backend' | 'logger' | 'settings'>,
  handle: KernelHandle,
  afterStop: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const { kernelId, containerId } = handle;
  const { stopGraceMs: graceMs } = settings;
  try {
    await within(backend.stop(handle, { graceMs }), {
      timeoutMs: graceMs + TIME_LIMITS.stopExtraMs,
      what: `stopping container ${containerId}`,
    });
  } catch (error) {
    logger.warn('cannot stop a container; removing it by force', {
      kernelId,
      containerId,
      error: messageOf(error),
    });
  }
  await afterStop();
  try {
    await within(backend.remove(handle), {
      timeoutMs: TIME_LIMITS.removeMs,
      what: `removing container ${containerId}`,
    });
  } catch (error) {
    throw new KernelCleanupError(
      `container ${containerId} of kernel ${kernelId} cannot be removed, its resources stay taken and it is tried ` +
        `again: ${messageOf(error)}`,
      { cause: error, retryable: true, details: { kernelId, containerId } },
    );
  }
}

/**
 * The creation of a container may have worked although its answer was lost.
 * @throws KernelCleanupError when the backend cannot tell, or a container cannot be removed.
 */
async function endContainersInDoubt(parts: LifecycleParts, kernel: Kernel): Promise<void> {
  const listed = within(parts.backend.list(parts.agentId), {
    timeoutMs: TIME_LIMITS.removeMs,
    what: `looking for containers of kernel ${kernel.id}`,
  }).catch((error: unknown) => {
    throw new KernelCleanupError(
      `kernel ${kernel.id} may have left a container, its resources stay taken and it is tried again: ` +
        messageOf(error),
      { cause: error, retryable: true, details: { kernelId: kernel.id } },
    );
  });
  for (const handle of await listed)
    if (handle.kernelId === kernel.id && handle.containerId !== kernel.containerId)
      await endContainer(parts, handle);
  kernel.hasContainerInDoubt = false;
}

/** Those of a request that never came so far are no relays. */
function relaysOf({ settings }: LifecycleParts, { request }: Kernel): readonly PlannedRelay[] {
  try {
    return planRelays(request, settings.socketDirectory);
  } catch {
    return [];
  }
}

/** A container that no kernel of the registry owns, with what it left on the disk. */
export async function removeStray(parts: LifecycleParts, handle: KernelHandle): Promise<void> {
  const kernel = parts.registry.find(handle.kernelId);
  if (kernel?.containerId === handle.containerId) return;
  // While it is there it says where its files are.
  const root = kernel ? null : await scratchRootOf(parts, handle);
  await endContainer(parts, handle);
  if (!kernel) await removeScratch(scratchOf(parts, { id: handle.kernelId, scratchRoot: root }));
}

/** Null when the backend cannot tell: then the directory is looked for where new ones are made. */
async function scratchRootOf({ backend }: LifecycleParts, handle: KernelHandle): Promise<string | null> {
  const details = await backend.details?.(handle).catch(() => null);
  const scratch = details?.scratch ?? null;
  return scratch !== null && basename(scratch) === handle.kernelId ? dirname(scratch) : null;
}

/** The reason in `kernel_terminated` for a kernel that is not here (spec/kernel-lifecycle.md 3.1). */
export const ALREADY_TERMINATED = 'already-terminated';

/** Names the end of a container that no kernel owns; see `EventSink.publish`. */
export const strayOccurrence = ({ kernelId, containerId }: KernelHandle): string =>
  `kernel_terminated:${kernelId}:${containerId}`;

export async function announceTermination(
  parts: Pick<LifecycleParts, 'agentId' | 'events'>,
  { kernelId, sessionId }: { readonly kernelId: KernelId; readonly sessionId: SessionId },
  reason: string,
  exitCode = -1,
  /** See `EventSink.publish`. */
  occurrence?: string,
): Promise<void> {
  await parts.events.publish(
    parts.agentId,
    { name: 'kernel_terminated', kernelId, sessionId, reason, exitCode },
    occurrence,
  );
}

async function announceEnd(parts: LifecycleParts, kernel: Kernel): Promise<void> {
  const { id: kernelId, sessionId, termination } = kernel;
  if (!termination || termination.suppressEvents) return;
  // One life of the kernel, which ends once: a crash before its record is forgotten announces nothing anew. A kernel
  // that is created again under its id lives a second time.
  const occurrence = `kernel_terminated:${kernelId}:${String(kernel.facts.createdAtMs)}`;
  const { reason, exitCode } = termination;
  await announceTermination(parts, { kernelId, sessionId }, reason, exitCode ?? -1, occurrence);
}

/** The reason of the end outlives a crash. A disk that refuses must not keep a kernel alive, though. */
async function keep(parts: LifecycleParts, kernel: Kernel): Promise<void> {
  try {
    await parts.journal.record(kernel);
  } catch (error) {
    parts.logger.error('cannot note the end of a kernel in the journal', {
      kernelId: kernel.id,
      error: messageOf(error),
    });
  }
}
