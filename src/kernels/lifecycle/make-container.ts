import type { KernelHandle, RunnerEndpoints } from '../../backends/backend.js';
import { InvariantError, isSpleniumError } from '../../core/errors.js';
import type { Kernel, KernelPorts } from '../kernel.js';
import { SessionNetworks } from '../networks/session-networks.js';
import { type GatheredPlan, gatherPlan } from './gather-plan.js';
import type { KernelAllocation, LifecycleParts } from './parts.js';
import type { CreationProgress } from './progress.js';
import { configFiles, planScratchFiles } from './plan-scratch.js';
import { appendContainerId, prepareScratch, ScratchOwner, writeScratchFiles } from './scratch.js';
import { recordFile } from './scratch-record.js';
import { replaceablePorts, replacePorts } from './taken-ports.js';

/** With how many sets of host ports a container is tried before its kernel is given up. */
const START_ATTEMPTS = 3;

/** The kernel on its network, and the plan with the ports that it has now. */
export async function joinNetwork(
  parts: LifecycleParts,
  { kernel, signal }: CreationProgress,
): Promise<GatheredPlan> {
  const { agentId, networks = new SessionNetworks() } = parts;
  const { request, servicePorts: services, models, scratchRoot } = kernel;
  const network = await networks.join(agentId, request, { isPreview: false, signal });
  signal.throwIfAborted();
  const gathered = gatherPlan(parts, {
    request,
    ...claimed(kernel),
    services,
    models,
    network,
    scratchRoot,
  });
  await networks.prepare(agentId, request, gathered.plan.ports, signal);
  signal.throwIfAborted();
  return gathered;
}

/**
 * From the plan to a container that runs. A host port was free when it was taken from the pool; whatever program has got
 * it since must not cost the kernel, which tries with others. A kernel that ends meanwhile is cleaned up by the caller.
 */
export async function makeContainer(
  parts: LifecycleParts,
  progress: CreationProgress,
  first: GatheredPlan,
  options: { readonly scratch: 'new' | 'kept' },
): Promise<{
  readonly handle: KernelHandle;
  readonly endpoints: RunnerEndpoints;
  readonly gathered: GatheredPlan;
}> {
  const { kernel, signal } = progress;
  const { backend, settings } = parts;
  progress.enter('preparing-scratch');
  const owner = new ScratchOwner(first.plan.identity, parts.logger);
  if (options.scratch === 'new')
    await prepareScratch(
      first.plan.scratch,
      [
        recordFile(kernel),
        // Before the request's own: a dotfile of the user's replaces one of these.
        ...(settings.homeFiles ?? []),
        ...planScratchFiles(
          kernel.request,
          first.plan,
          resourceText(parts, kernel, first),
          first.devices.files,
        ),
      ],
      owner,
      {
        volume: { type: settings.scratchType ?? 'hostdir', imageBytes: settings.scratchSizeBytes ?? 0 },
        devices: Object.keys(first.devices.files),
      },
    );
  else await rewriteScratch(parts, kernel, first);
  await parts.relays?.open(first.relays);

  progress.enter('creating-container');
  let gathered = first;
  let made = await createContainer(parts, kernel, first, signal);
  progress.enter('starting-container');
  for (let attempt = 1; ; attempt += 1)
    try {
      const endpoints = await backend.start(made.handle, signal);
      kernel.learn({ endpoints });
      await made.noted;
      return { handle: made.handle, endpoints, gathered };
    } catch (error) {
      const taken = attempt === START_ATTEMPTS ? [] : replaceablePorts(kernel, error, backend);
      if (taken.length === 0) throw error;
      parts.logger.warn('host ports of a kernel are in use by something else; trying with others', {
        kernelId: kernel.id,
        ports: taken,
      });
      gathered = await withOtherPorts(parts, progress, { handle: made.handle, taken });
      made = await createContainer(parts, kernel, gathered, signal);
    }
}

/** The container that could not start goes; the kernel gets other ports, and all that names them is written anew. */
async function withOtherPorts(
  parts: LifecycleParts,
  progress: CreationProgress,
  { handle, taken }: { readonly handle: KernelHandle; readonly taken: readonly number[] },
): Promise<GatheredPlan> {
  const { kernel, signal } = progress;
  await parts.backend.remove(handle);
  kernel.learn({ handle: null });
  signal.throwIfAborted();
  await replacePorts(parts.ports, kernel, taken);
  await parts.networks?.leave(parts.agentId, kernel.request, parts.logger);
  const gathered = await joinNetwork(parts, progress);
  await rewriteScratch(parts, kernel, gathered);
  return gathered;
}

/** The user's files stay. */
function rewriteScratch(parts: LifecycleParts, kernel: Kernel, gathered: GatheredPlan): Promise<void> {
  const { plan } = gathered;
  const files = [recordFile(kernel), ...configFiles(plan, resourceText(parts, kernel, gathered))];
  return writeScratchFiles(plan.scratch, files, new ScratchOwner(plan.identity, parts.logger));
}

const resourceText = (
  { resources }: LifecycleParts,
  kernel: Kernel,
  { mounts }: Pick<GatheredPlan, 'mounts'>,
): string => resources.resourceText(claimed(kernel).allocation, mounts);

async function createContainer(
  { backend, journal }: LifecycleParts,
  kernel: Kernel,
  { plan }: GatheredPlan,
  signal: AbortSignal,
): Promise<{ readonly handle: KernelHandle; readonly noted: Promise<void> }> {
  const handle = await backend.create(plan, signal).catch((error: unknown) => {
    // One that was there before is not of this creation.
    kernel.hasContainerInDoubt = !isSpleniumError(error, 'BACKEND_KERNEL_EXISTS');
    throw error;
  });
  kernel.learn({ handle });
  await appendContainerId(plan.scratch, handle.containerId);
  // The start need not wait for the disk: until the record is there, a recovery finds the container by its labels.
  const noted = journal.record(kernel);
  noted.catch(() => undefined);
  return { handle, noted };
}

/** What the allocation step has given the kernel. */
export function claimed(kernel: Kernel): {
  readonly allocation: KernelAllocation;
  readonly ports: KernelPorts;
} {
  const { allocation, ports } = kernel;
  if (!allocation || !ports)
    throw new InvariantError(`kernel ${kernel.id} is to be started without resources or host ports`);
  return { allocation, ports };
}
