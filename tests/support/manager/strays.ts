import { CONTAINER_STATUSES } from './kernel-rules.js';
import type { SessionTable } from './session-table.js';

/** What an agent has and its manager does not want (any more). */
export interface Strays {
  readonly containers: readonly { readonly containerId: string; readonly kernelId: string }[];
  readonly kernelIds: readonly string[];
}

interface StatusHeartbeat {
  readonly containers: readonly { readonly container_id: string; readonly kernel_id: string }[];
  readonly kernels: readonly (readonly [kernelId: string, containerId: string | null])[];
}

/** What a 25.17 manager makes of `agent_status_heartbeat` (spec/events-and-stores.md 3.5, 4.5). */
export function findStrays(args: readonly unknown[], sessions: SessionTable): Strays {
  const [, containers, kernels] = args;
  const told = { containers, kernels } as StatusHeartbeat;
  const isWanted = (kernelId: string): boolean => {
    const status = sessions.find(kernelId)?.status;
    return status !== undefined && CONTAINER_STATUSES.includes(status);
  };
  return {
    containers: told.containers
      .filter(({ kernel_id }) => !isWanted(kernel_id))
      .map(({ container_id: containerId, kernel_id: kernelId }) => ({ containerId, kernelId })),
    kernelIds: told.kernels.map(([kernelId]) => kernelId).filter((kernelId) => !isWanted(kernelId)),
  };
}
