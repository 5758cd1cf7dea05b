import type { Kernel } from './kernel.js';
import type { KernelDescription } from './requests.js';

export const RUNTIME_TYPE_LABEL = 'ai.backend.runtime-type';
/** What an image without the label runs (spec/kernel-lifecycle.md 2.16.1). */
export const DEFAULT_RUNTIME_TYPE = 'app';

/** A kernel as cross-agent queries, the CLI and the status page show it. Holds no secret of the creation request. */
export function describeKernel(kernel: Kernel): KernelDescription {
  const { config } = kernel.request;
  return {
    agentId: kernel.agentId,
    kernelId: kernel.id,
    sessionId: kernel.sessionId,
    state: kernel.state.name,
    stateDetail: 'step' in kernel.state ? kernel.state.step : (kernel.termination?.detail ?? null),
    sessionType: config.sessionType,
    image: kernel.image,
    runtimeType: config.image.labels[RUNTIME_TYPE_LABEL] ?? DEFAULT_RUNTIME_TYPE,
    containerId: kernel.containerId,
    clusterRole: config.clusterRole,
    clusterHostname: config.clusterHostname,
    createdAtMs: kernel.createdAtMs,
    startedAtMs: kernel.startedAtMs,
    terminationReason: kernel.termination?.reason ?? null,
    resourceSlots: kernel.allocation?.slots ?? config.resourceSlots,
    servicePorts: kernel.servicePorts,
  };
}
