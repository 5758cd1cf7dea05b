import type { KernelPlan } from '../backend.js';
import { SAMPLES_VOLUME, wantsSamples } from './container-mounts.js';
import { SWARM_GATEWAY, usesGateway } from './container-networks.js';
import type { EngineFacts } from './container-spec.js';
import type { Engine } from './engine.js';

/** Asks the engine only for what matters to this kernel: for most kernels nothing. */
export async function findEngineFacts(engine: Engine, plan: KernelPlan): Promise<EngineFacts> {
  return {
    hasSamples: wantsSamples(plan) && (await engine.volumes.exists(SAMPLES_VOLUME)),
    gatewaySubnet: usesGateway(plan) ? await engine.networks.subnetOf(SWARM_GATEWAY) : null,
  };
}
