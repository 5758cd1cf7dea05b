import { z } from 'zod';
import { within } from '../../core/async.js';
import { RuntimeError, ValueError } from '../../core/errors.js';
import type { Kernel } from '../kernel.js';
import type { CreationStep } from '../kernel-state.js';
import type {
  KernelCreationConfig,
  KernelCreationRequest,
  KernelImageRef,
  KernelRestartResult,
} from '../requests.js';
import { collectLogs } from './collect-logs.js';
import { failureReason } from './failures.js';
import type { LifecycleParts } from './parts.js';
import { announceProgress, type CreationProgress } from './progress.js';
import { checkArchitecture, ensureImage } from './pull.js';
import { startKernel } from './start.js';
import { endContainer } from './terminate.js';
import { TIME_LIMITS } from './time-limits.js';

/** What a restart may change. Everything else is bound to what was allocated when the kernel was created. */
const restartUpdate = z.strictObject({
  environ: z.record(z.string(), z.string()).optional(),
  scaling_group: z.string().optional(),
  agent_addr: z.string().optional(),
});

/**
 * Lays the update over the stored request; a key given replaces the stored value as a whole
 * (spec/kernel-lifecycle.md 4.1).
 * @throws ValueError naming a key that a restart cannot change or that has the wrong shape.
 */
export function updatedRequest(
  stored: KernelCreationRequest,
  imageRef: KernelImageRef,
  updatedConfig: Readonly<Record<string, unknown>>,
): KernelCreationRequest {
  const parsed = restartUpdate.safeParse(updatedConfig);
  if (!parsed.success)
    throw new ValueError(
      `restart_kernel: updated_config: ${parsed.error.issues
        .map((issue) => [...issue.path, issue.message].join(': '))
        .join('; ')} (a restart can change environ, scaling_group and agent_addr)`,
    );
  const { environ, scaling_group: scalingGroup, agent_addr: agentAddr } = parsed.data;
  const config: KernelCreationConfig = {
    ...stored.config,
    ...(environ === undefined ? {} : { environ }),
    ...(scalingGroup === undefined ? {} : { scalingGroup }),
    ...(agentAddr === undefined ? {} : { agentAddr }),
  };
  return { ...stored, config, imageRef };
}

/**
 * A new container for a kernel that keeps its id, resources, ports, owners and files (spec/kernel-lifecycle.md 4.1).
 * Runs inside the kernel's queue; when it throws after the first step, the caller ends the kernel.
 */
export async function restartKernel(
  parts: LifecycleParts,
  progress: CreationProgress,
  request: KernelCreationRequest,
): Promise<KernelRestartResult> {
  const { kernel, signal } = progress;
  kernel.apply(
    { type: 'restart' },
    {
      request,
      result: null,
      startAnnounced: false,
      ...(kernel.models.length > 0 ? { modelsAnswered: false } : {}),
    },
  );
  progress.enter('stopping-container');
  await parts.journal.record(kernel);
  await within(stopOld(parts, kernel), {
    timeoutMs: TIME_LIMITS.restartStopMs,
    what: `waiting for the old container of kernel ${kernel.id} to go`,
  });
  kernel.learn({ handle: null, endpoints: null });

  progress.enter('pulling-image');
  checkArchitecture(request.imageRef.architecture, parts.settings.architecture);
  await ensureImage(parts, request, signal, (canonical) =>
    announceProgress(parts, progress, 'kernel_pulling', canonical),
  );
  await startKernel(parts, progress, { scratch: 'kept' });
  const { result, containerId } = kernel;
  if (!result || containerId === null)
    throw new RuntimeError(`kernel ${kernel.id} has no container after its restart`);
  return {
    containerId,
    replInPort: result.replInPort,
    replOutPort: result.replOutPort,
    // Ports may have moved on their way to clients, who do not see them all.
    servicePorts: kernel.servicePorts.map(
      (service) => result.servicePorts.find(({ name }) => name === service.name) ?? service,
    ),
  };
}

/** The reason of `kernel_terminated` for a restart that failed at this step. */
export function restartFailureReason(step: CreationStep): string {
  return step === 'stopping-container' ? 'restart-timeout' : failureReason(step);
}

async function stopOld(parts: LifecycleParts, kernel: Kernel): Promise<void> {
  await parts.runners.disconnect(kernel.id);
  const { handle } = kernel;
  if (handle) await endContainer(parts, handle, () => collectLogs(parts, handle));
  await parts.networks?.leave(parts.agentId, kernel.request, parts.logger);
}
