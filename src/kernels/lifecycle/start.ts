import type { KernelHandle } from '../../backends/backend.js';
import { messageOf } from '../../core/errors.js';
import type { Kernel, KernelPorts } from '../kernel.js';
import { SessionNetworks, withExposedPorts } from '../networks/session-networks.js';
import type { KernelCreationResult, ResourceSpec, ServicePort } from '../requests.js';
import { claimed, joinNetwork, makeContainer } from './make-container.js';
import type { KernelAllocation, LifecycleParts } from './parts.js';
import type { CreationProgress } from './progress.js';
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

  const first = await joinNetwork(parts, progress);
  if (parts.starts?.isFull) progress.enter('waiting-for-turn');
  const leave = await parts.starts?.enter(signal);
  const { handle, endpoints, gathered } = await makeContainer(parts, progress, first, options).finally(leave);
  const { allocation, ports } = claimed(kernel);
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
