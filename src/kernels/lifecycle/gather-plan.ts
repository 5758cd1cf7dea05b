import { join } from 'node:path';
import type { KernelPlan, PlannedNetwork } from '../../backends/backend.js';
import type { KernelPorts } from '../kernel.js';
import type { Model } from '../models/definition.js';
import type { KernelCreationRequest, ResourceSpec, ServicePort } from '../requests.js';
import type { DeviceNeeds, KernelAllocation, LifecycleParts } from './parts.js';
import { planKernel, scratchPaths, specMounts } from './plan.js';
import { type PlannedRelay, planRelays } from './plan-mounts.js';

/** What was taken for one kernel. */
export interface Claim {
  readonly request: KernelCreationRequest;
  readonly allocation: KernelAllocation;
  readonly ports: KernelPorts;
  readonly services: readonly ServicePort[];
  readonly models: readonly Model[];
  readonly network: PlannedNetwork | null;
  /** Where the kernel's scratch directory is; null: where the agent has those of new kernels. */
  readonly scratchRoot: string | null;
}

export interface GatheredPlan {
  readonly plan: KernelPlan;
  readonly devices: DeviceNeeds;
  readonly relays: readonly PlannedRelay[];
  /** As `resource.txt` and the creation result list them. */
  readonly mounts: ResourceSpec['mounts'];
}

/**
 * The plan of a kernel, with what the agent's parts say of its devices. Takes, makes and writes nothing.
 * @throws as `planKernel`, and ValueError for devices that no container can be made with.
 */
export function gatherPlan(
  parts: Pick<LifecycleParts, 'agentId' | 'resources' | 'settings'>,
  { request, allocation, ports, services, models, network, scratchRoot }: Claim,
): GatheredPlan {
  const { agentId, resources } = parts;
  const settings = { ...parts.settings, scratchRoot: scratchRoot ?? parts.settings.scratchRoot };
  const shmem = request.config.resourceOpts.shmemBytes;
  // Records of earlier releases do not have it.
  const complete = { ...allocation, shmemBytes: shmem === null ? null : String(shmem) };
  const scratch = scratchPaths(settings.scratchRoot, request.kernelId, settings.scratchType);
  const devices = resources.deviceNeeds(complete, (name) => join(scratch.config, name));
  const plan = planKernel(request, {
    agentId,
    settings,
    ownIdentity: {
      uid: settings.kernelUid ?? process.getuid?.() ?? null,
      gid: settings.kernelGid ?? process.getgid?.() ?? null,
    },
    limits: resources.limits(complete),
    deviceEnvironment: resources.environment(complete),
    deviceArguments: resources.deviceArguments(complete),
    deviceNeeds: devices,
    ports,
    services,
    models,
    network,
  });
  return {
    plan,
    devices,
    relays: planRelays(request, settings.socketDirectory),
    mounts: specMounts(request.config, plan.scratch),
  };
}
