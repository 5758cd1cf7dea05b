import type { KernelHandle, KernelProcessState } from '../../backends/backend.js';
import { within } from '../../core/async.js';
import { messageOf } from '../../core/errors.js';
import type { KernelId } from '../../core/ids.js';
import type { KeyedQueue } from '../../core/keyed-queue.js';
import { Kernel, type KernelFacts } from '../kernel.js';
import { adoptKernel } from './adopt.js';
import type { KernelEndings } from './endings.js';
import type { LifecycleParts } from './parts.js';
import { planRelays, scratchOf } from './plan-mounts.js';
import { removeScratch } from './scratch.js';
import { announceStart } from './start.js';
import { announceTermination, endContainer, removeStray, strayOccurrence } from './terminate.js';
import { TIME_LIMITS } from './time-limits.js';

const UNKNOWN_CONTAINER = 'terminated-unknown-container';

/** What to do with a kernel of an earlier run. */
export type RecoveryDecision =
  | { readonly action: 'attach' }
  /** The manager knows of its end; only files are left. */
  | { readonly action: 'sweep' }
  | {
      readonly action: 'end';
      readonly reason: string;
      readonly exitCode: number | null;
      /** How its container ended by itself, in the backend's words. */
      readonly detail?: string;
    };

/**
 * Pure (spec/kernel-lifecycle.md 6.4). `found` is null when the backend could not say; then the journal is believed.
 */
export function decideRecovery(facts: KernelFacts, found: KernelProcessState | null): RecoveryDecision {
  if (facts.termination)
    return facts.termination.announced
      ? { action: 'sweep' }
      : { action: 'end', reason: facts.termination.reason, exitCode: null };
  switch (facts.state.name) {
    case 'preparing':
    case 'restarting':
      return {
        action: 'end',
        reason: facts.state.step === 'waiting-for-runner' ? 'failed-to-start' : 'failed-to-create',
        exitCode: null,
      };
    case 'terminating':
    case 'terminated':
      return { action: 'end', reason: facts.state.reason, exitCode: null };
    case 'running':
      switch (found?.status) {
        case undefined:
        case 'running':
          return { action: 'attach' };
        case 'exited':
          return {
            action: 'end',
            reason: 'self-terminated',
            exitCode: found.exitCode,
            detail: found.detail,
          };
        case 'missing':
          return { action: 'end', reason: 'container-not-found', exitCode: null };
      }
  }
}

/**
 * Takes over what an earlier run left; one kernel's trouble never stops the others.
 * @throws when the journal or the backend cannot be read at all.
 */
export async function recoverKernels(
  parts: LifecycleParts,
  queue: KeyedQueue<KernelId>,
  endings: KernelEndings,
): Promise<void> {
  const records = await parts.journal.load();
  const containers = new Map<KernelId, KernelHandle[]>();
  for (const handle of await parts.backend.list(parts.agentId))
    containers.set(handle.kernelId, [...(containers.get(handle.kernelId) ?? []), handle]);
  // All are booked before any is looked at, so that nothing of a living kernel is given away.
  const kernels = records.flatMap((facts) => bookAgain(parts, facts) ?? []);
  const recorded = new Set(records.map(({ request }) => request.kernelId));
  await Promise.all([
    ...kernels.map((kernel) =>
      queue
        .run(kernel.id, async () => {
          if (await recoverKernel(parts, kernel, containers.get(kernel.id) ?? [])) await endings.end(kernel);
        })
        .catch((error: unknown) => {
          parts.logger.error('a kernel of an earlier run could not be recovered', {
            kernelId: kernel.id,
            state: kernel.state.name,
            error: messageOf(error),
          });
        }),
    ),
    ...[...containers]
      .filter(([kernelId]) => !recorded.has(kernelId))
      .map(([kernelId, strays]) => queue.run(kernelId, () => adoptOrEnd(parts, strays))),
  ]);
}

/**
 * All containers of one kernel without a record: the one that runs is taken over, and what cannot be kept is ended and
 * announced (spec/kernel-lifecycle.md 9.3 R2, R10).
 */
async function adoptOrEnd(parts: LifecycleParts, found: readonly KernelHandle[]): Promise<void> {
  const [running, ...others] = await runningOf(parts, found);
  const kernel = running && others.length === 0 ? await adoptKernel(parts, running) : null;
  const strays = found.filter(({ containerId }) => containerId !== kernel?.containerId);
  if (kernel) {
    for (const handle of strays) await removeLeftOver(parts, handle);
    return;
  }
  const [first] = strays;
  if (!first) return;
  try {
    for (const handle of strays) await removeStray(parts, handle);
    await announceTermination(parts, first, UNKNOWN_CONTAINER, -1, strayOccurrence(first));
  } catch (error) {
    parts.logger.error('an own container without a record could not be ended', {
      kernelId: first.kernelId,
      error: messageOf(error),
    });
  }
}

/** Those that the backend cannot tell of are not among them. */
async function runningOf(
  { backend, logger }: LifecycleParts,
  handles: readonly KernelHandle[],
): Promise<readonly KernelHandle[]> {
  const running: KernelHandle[] = [];
  for (const handle of handles)
    try {
      const state = await within(backend.inspect(handle), {
        timeoutMs: TIME_LIMITS.inspectMs,
        what: `inspecting container ${handle.containerId}`,
      });
      if (state.status === 'running') running.push(handle);
    } catch (error) {
      const { kernelId, containerId } = handle;
      logger.error('cannot inspect an own container without a record', {
        kernelId,
        containerId,
        error: messageOf(error),
      });
    }
  return running;
}

/** A container that the kernel does not need. */
async function removeLeftOver(parts: LifecycleParts, handle: KernelHandle): Promise<void> {
  await endContainer(parts, handle).catch((error: unknown) => {
    parts.logger.error('cannot remove a left-over container of a kernel', {
      kernelId: handle.kernelId,
      containerId: handle.containerId,
      error: messageOf(error),
    });
  });
}

/** One kernel of the journal, entered in the registry with what it holds. Null: it could not be, and why is logged. */
function bookAgain(parts: LifecycleParts, facts: KernelFacts): Kernel | null {
  const kernel = Kernel.restored(facts);
  const { logger, resources, ports, registry } = parts;
  try {
    registry.add(kernel);
  } catch (error) {
    logger.error('a kernel of the journal cannot be taken over; its record stays', {
      kernelId: kernel.id,
      error: messageOf(error),
    });
    return null;
  }
  try {
    if (kernel.allocation && !facts.termination?.announced) resources.restore(kernel.id, kernel.allocation);
    if (kernel.ports && !facts.termination?.announced) ports.restore(kernel.id, kernel.ports.booked);
  } catch (error) {
    // Running on with what another kernel owns by now would break both.
    logger.error('the resources or ports of a kernel are no longer its own; it is ended', {
      kernelId: kernel.id,
      error: messageOf(error),
    });
    kernel.terminate({ reason: 'anomaly-detected' });
  }
  return kernel;
}

/**
 * Brings one booked kernel back to life, or marks it as ending: then it returns true and the caller ends it. Runs
 * inside the kernel's queue. `own`: the containers that the backend found under this kernel's id.
 */
async function recoverKernel(
  parts: LifecycleParts,
  kernel: Kernel,
  own: readonly KernelHandle[],
): Promise<boolean> {
  const { journal, registry } = parts;
  // A creation may have died between the container's birth and the record of it, a restart between two containers,
  // which may even have one id. What ends is what is there; a running kernel's record was written after its start.
  const known =
    own.find(({ containerId }) => containerId === kernel.containerId) ?? (kernel.handle ? null : own[0]);
  if (known && kernel.state.name !== 'running') kernel.learn({ handle: known });
  for (const stray of own) if (stray.containerId !== kernel.containerId) await removeLeftOver(parts, stray);
  const found = await inspect(parts, kernel);
  const decision = decideRecovery(kernel.facts, found);
  switch (decision.action) {
    case 'sweep':
      registry.remove(kernel.id);
      await removeScratch(scratchOf(parts, kernel));
      await journal.forget(kernel.id);
      return false;
    case 'end':
      kernel.terminate(decision);
      return true;
    case 'attach':
      await attach(parts, kernel, found);
      return false;
  }
}

async function attach(
  parts: LifecycleParts,
  kernel: Kernel,
  found: KernelProcessState | null,
): Promise<void> {
  await parts.relays
    ?.reopen(planRelays(kernel.request, parts.settings.socketDirectory))
    .catch((error: unknown) => {
      parts.logger.error('cannot reopen the domain socket proxies of a recovered kernel', {
        kernelId: kernel.id,
        error: messageOf(error),
      });
    });
  const endpoints = found?.status === 'running' ? found.endpoints : kernel.endpoints;
  if (endpoints) {
    kernel.learn({ endpoints });
    try {
      parts.runners.connect(kernel.id, endpoints);
    } catch (error) {
      // The kernel stays in the registry all the same, so that it can be ended (9.3 R5).
      parts.logger.error('cannot connect to the runner of a recovered kernel', {
        kernelId: kernel.id,
        error: messageOf(error),
      });
    }
  }
  if (kernel.result && !kernel.startAnnounced) await announceStart(parts, kernel, kernel.result);
}

async function inspect(parts: LifecycleParts, kernel: Kernel): Promise<KernelProcessState | null> {
  if (!kernel.handle) return { status: 'missing' };
  try {
    return await within(parts.backend.inspect(kernel.handle), {
      timeoutMs: TIME_LIMITS.inspectMs,
      what: `inspecting the container of kernel ${kernel.id}`,
    });
  } catch (error) {
    parts.logger.error('cannot inspect the container of a recovered kernel; it is taken to run', {
      kernelId: kernel.id,
      error: messageOf(error),
    });
    return null;
  }
}
