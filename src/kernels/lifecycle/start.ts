import type { KernelHandle, RunnerEndpoints } from '../../backends/backend.js';
import { InvariantError, isSpleniumError, messageOf } from '../../core/errors.js';
import type { Kernel, KernelPorts } from '../kernel.js';
import { SessionNetworks, withExposedPorts } from '../networks/session-networks.js';
import type { KernelCreationResult, ResourceSpec, ServicePort } from '../requests.js';
import { type GatheredPlan, gatherPlan } from './gather-plan.js';
import type { KernelAllocation, LifecycleParts } from './parts.js';
import { recordFile } from './scratch-record.js';
import type { CreationProgress } from './progress.js';
import {
  appendContainerId,
  configFiles,
  planScratchFiles,
  prepareScratch,
  ScratchOwner,
  writeScratchFiles,
} from './scratch.js';
import { mergeApps, publicServices } from './service-ports.js';

/**
 * The second half of a creation and of a restart: from allocated resources and ports to a runner that answers and
 * `kernel_started` (spec/kernel-lifecycle.md 2.15 to 2.18).
 */
export async function startKernel(
  parts: LifecycleParts,
  progress: CreationProgress,
  options: {
    /** `kept`: the user's files stay, the agent's own are written anew. */
    readonly scratch: 'new' | 'kept';
  },
): Promise<KernelCreationResult> {
  const { kernel, signal } = progress;
  const { agentId, networks = new SessionNetworks(), settings } = parts;
  const { request } = kernel;
  const { allocation, ports } = claimed(kernel);

  const network = await networks.join(agentId, request, { isPreview: false, signal });
  signal.throwIfAborted();
  const gathered = gatherPlan(parts, {
    request,
    allocation,
    ports,
    services: kernel.servicePorts,
    models: kernel.models,
    network,
    scratchRoot: kernel.scratchRoot,
  });
  await networks.prepare(agentId, request, gathered.plan.ports, signal);
  signal.throwIfAborted();
  if (parts.starts?.isFull) progress.enter('waiting-for-turn');
  const leave = await parts.starts?.enter(signal);
  const { handle, endpoints } = await makeContainer(parts, progress, gathered, options).finally(leave);
  const exposed = await networks.expose(agentId, request, gathered.plan.ports, signal);
  signal.throwIfAborted();

  progress.enter('waiting-for-runner');
  const apps = await parts.runners.connect(kernel.id, endpoints).waitReady({ ...settings.readiness, signal });
  signal.throwIfAborted();
  progress.measureApart('announcing-start');
  const servicePorts = mergeApps(kernel.servicePorts, apps);
  const { mounts } = gathered;
  const made = creationResult(parts, { kernel, allocation, ports, servicePorts, handle, mounts });
  const result: KernelCreationResult = {
    ...made,
    kernelHost: exposed?.host ?? made.kernelHost,
    servicePorts: withExposedPorts(made.servicePorts, exposed),
  };
  kernel.learn({ servicePorts, result });
  await becomeRunning(parts, kernel, result, signal);
  return result;
}

/** What the creation of a running kernel answers (spec/kernel-lifecycle.md 2.18). */
export function creationResult(
  { resources, settings }: Pick<LifecycleParts, 'resources' | 'settings'>,
  made: {
    readonly kernel: Kernel;
    readonly allocation: KernelAllocation;
    readonly ports: Pick<KernelPorts, 'replIn' | 'replOut'>;
    readonly servicePorts: readonly ServicePort[];
    readonly handle: KernelHandle;
    readonly mounts: ResourceSpec['mounts'];
  },
): KernelCreationResult {
  const { kernel, allocation, ports, servicePorts, handle, mounts } = made;
  const { agentAddr, scalingGroup } = kernel.request.config;
  return {
    id: kernel.id,
    containerId: handle.containerId,
    kernelHost: settings.advertisedHost ?? settings.bindHost,
    replInPort: ports.replIn,
    replOutPort: ports.replOut,
    servicePorts: publicServices(servicePorts),
    resourceSpec: { ...allocation, scratchDiskSizeBytes: 0, mounts },
    attachedDevices: resources.attachedDevices(allocation),
    agentAddr,
    scalingGroup,
  };
}

/** From the plan to a container that runs. A kernel that ends meanwhile is cleaned up by the caller. */
async function makeContainer(
  parts: LifecycleParts,
  progress: CreationProgress,
  { plan, devices, relays, mounts }: GatheredPlan,
  options: { readonly scratch: 'new' | 'kept' },
): Promise<{ readonly handle: KernelHandle; readonly endpoints: RunnerEndpoints }> {
  const { kernel, signal } = progress;
  const { backend, journal, resources, settings } = parts;
  const { request } = kernel;
  progress.enter('preparing-scratch');
  const resourceText = resources.resourceText(claimed(kernel).allocation, mounts);
  const owner = new ScratchOwner(plan.identity, parts.logger);
  if (options.scratch === 'new')
    await prepareScratch(
      plan.scratch,
      [recordFile(kernel), ...planScratchFiles(request, plan, resourceText, devices.files)],
      owner,
      {
        volume: { type: settings.scratchType ?? 'hostdir', imageBytes: settings.scratchSizeBytes ?? 0 },
        devices: Object.keys(devices.files),
      },
    );
  else await writeScratchFiles(plan.scratch, [recordFile(kernel), ...configFiles(plan, resourceText)], owner);
  await parts.relays?.open(relays);

  progress.enter('creating-container');
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
  progress.enter('starting-container');
  const endpoints = await backend.start(handle, signal);
  kernel.learn({ endpoints });
  await noted;
  return { handle, endpoints };
}

/**
 * The record says "running, not announced" before the event goes out: a crash between the two makes the recovery
 * announce it, and never loses a kernel that the manager has been told of.
 */
async function becomeRunning(
  parts: LifecycleParts,
  kernel: Kernel,
  result: KernelCreationResult,
  signal: AbortSignal,
): Promise<void> {
  kernel.apply({ type: 'ready' }, { startedAtMs: parts.clock.nowMs(), startAnnounced: false });
  await parts.journal.record(kernel);
  signal.throwIfAborted();
  await announceStart(parts, kernel, result);
  signal.throwIfAborted();
}

/** Publishes `kernel_started`; the note of it may follow the reply, as the outbox knows a repeat after a crash. */
export async function announceStart(
  parts: Pick<LifecycleParts, 'agentId' | 'events' | 'journal' | 'logger'>,
  kernel: Kernel,
  creation: KernelCreationResult,
): Promise<void> {
  const { id: kernelId, sessionId } = kernel;
  await parts.events.publish(
    parts.agentId,
    { name: 'kernel_started', kernelId, sessionId, reason: '', creation },
    // A restart starts it once more.
    `kernel_started:${kernelId}:${String(kernel.facts.startedAtMs)}`,
  );
  kernel.learn({ startAnnounced: true });
  parts.journal.record(kernel).catch((error: unknown) => {
    parts.logger.warn('cannot note in the journal that a kernel start is announced', {
      kernelId,
      error: messageOf(error),
    });
  });
}

/** What the allocation step has given the kernel. */
function claimed(kernel: Kernel): { readonly allocation: KernelAllocation; readonly ports: KernelPorts } {
  const { allocation, ports } = kernel;
  if (!allocation || !ports)
    throw new InvariantError(`kernel ${kernel.id} is to be started without resources or host ports`);
  return { allocation, ports };
}
