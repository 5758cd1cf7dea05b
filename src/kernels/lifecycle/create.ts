import { isSpleniumError, messageOf } from '../../core/errors.js';
import { KernelCreationError } from '../errors.js';
import type { Kernel, KernelPorts } from '../kernel.js';
import { modelPorts } from '../models/needs.js';
import { resolveModels } from '../models/resolve.js';
import type { KernelCreationResult } from '../requests.js';
import type { LifecycleParts } from './parts.js';
import { announceProgress, type CreationProgress } from './progress.js';
import { checkArchitecture, ensureImage } from './pull.js';
import {
  countHostPorts,
  fixedPortsOf,
  type PlannedService,
  planServices,
  withHostPorts,
} from './service-ports.js';
import { startKernel } from './start.js';

/**
 * Makes one kernel, from the acceptance to the runner's first answer (spec/kernel-lifecycle.md 2). Runs inside the
 * kernel's queue. Whatever it throws, the caller ends the kernel, which gives everything back that was taken.
 */
export async function createKernel(
  parts: LifecycleParts,
  progress: CreationProgress,
): Promise<KernelCreationResult> {
  const { kernel, signal } = progress;
  const { request } = kernel;
  kernel.learn({ scratchRoot: parts.settings.scratchRoot });
  // Before anything exists outside this process or is announced: a crash from here on is cleaned up from the record.
  await parts.journal.record(kernel);
  await announceProgress(parts, progress, 'kernel_preparing');

  progress.enter('pulling-image');
  checkArchitecture(request.imageRef.architecture, parts.settings.architecture);
  await ensureImage(parts, request, signal, (canonical) =>
    announceProgress(parts, progress, 'kernel_pulling', canonical),
  );
  await announceProgress(parts, progress, 'kernel_creating');

  progress.enter('allocating');
  const models = await resolveModels(parts.backend, request, parts.settings.managerVersion ?? '25.17');
  signal.throwIfAborted();
  const services = planServices(request.config, modelPorts(models));
  if (models.length > 0) kernel.learn({ models });
  await allocate(parts, kernel);
  signal.throwIfAborted();
  await takePorts(parts, kernel, services);

  return startKernel(parts, progress, { scratch: 'new' });
}

async function allocate(parts: LifecycleParts, kernel: Kernel): Promise<void> {
  const { resourceSlots, resourceOpts } = kernel.request.config;
  try {
    const allocation = parts.resources.allocate(kernel.id, {
      slots: resourceSlots,
      shmemBytes: resourceOpts.shmemBytes,
      allowFractionalFragmentation: resourceOpts.allowFractionalResourceFragmentation,
    });
    kernel.learn({ allocation });
  } catch (error) {
    await parts.events.publish(parts.agentId, { name: 'do_agent_resource_check' });
    throw error;
  }
}

/**
 * One host port for each container port; the cluster's SSH port was given to the manager before and is taken over, and
 * on the machine's network a service has the port that it listens on, or the kernel is refused.
 */
async function takePorts(
  parts: LifecycleParts,
  kernel: Kernel,
  services: readonly PlannedService[],
): Promise<void> {
  const fixed = fixedPortsOf(kernel.request, services, parts.backend);
  const booked = [...fixed.values()].flat();
  let taken: readonly number[];
  try {
    // First, or the pool might hand out the same port for something else.
    parts.ports.restore(kernel.id, booked);
    taken = await parts.ports.acquire(kernel.id, 2 + countHostPorts(services, fixed));
  } catch (error) {
    throw new KernelCreationError(
      `Kernel failed to create container (k:${kernel.id}, detail:${messageOf(error)})`,
      { cause: error, retryable: isSpleniumError(error) && error.retryable },
    );
  }
  const [replIn, replOut, ...forServices] = taken;
  if (replIn === undefined || replOut === undefined)
    throw new KernelCreationError(
      `Kernel failed to create container (k:${kernel.id}, detail:too few host ports)`,
    );
  const ports: KernelPorts = { replIn, replOut, booked: [...taken, ...booked] };
  kernel.learn({ ports, servicePorts: withHostPorts(services, forServices, fixed) });
}
