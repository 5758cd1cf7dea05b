import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { KernelPlan } from '../../src/backends/backend.js';
import { type AgentId, parseKernelId, parseSessionId } from '../../src/core/ids.js';
import type { PlanOverrides } from '../contract/backend.contract.js';

/** What the tests of one backend have in common. */
interface PlanOfBackend extends Partial<Pick<KernelPlan, 'replInPort' | 'replOutPort'>> {
  readonly agentId: AgentId;
  readonly imageCanonical: string;
  /** Default: that of whoever runs the tests. */
  readonly identity?: { readonly uid: number; readonly gid: number };
}

/** The plan of a shell kernel, and its scratch directory below `root`. */
export async function kernelPlan(
  root: string,
  backend: PlanOfBackend,
  overrides: PlanOverrides,
): Promise<KernelPlan> {
  const kernelId = overrides.kernelId ?? parseKernelId(randomUUID());
  const directory = join(root, 'scratch', kernelId);
  const scratch = { root: directory, config: join(directory, 'config'), work: join(directory, 'work') };
  await mkdir(scratch.config, { recursive: true });
  await mkdir(scratch.work, { recursive: true });
  return {
    agentId: overrides.agentId ?? backend.agentId,
    kernelId,
    sessionId: parseSessionId(randomUUID()),
    imageCanonical: backend.imageCanonical,
    imageIsLocal: false,
    isSudoEnabled: false,
    deviceArguments: {},
    runtimeType: 'shell',
    runtimePath: null,
    environment: { BACKENDAI_KERNEL_ID: kernelId, ...overrides.environment },
    scratch,
    labels: {},
    hostname: 'main1',
    limits: { cpuCores: [], memoryBytes: 512 * 1024 * 1024, shmBytes: 0, ...overrides.limits },
    identity: { uid: null, gid: null, supplementaryGids: [], ...backend.identity, ...overrides.identity },
    mounts: overrides.mounts ?? [],
    ports: [],
    replInPort: backend.replInPort ?? 2000,
    replOutPort: backend.replOutPort ?? 2001,
  };
}
