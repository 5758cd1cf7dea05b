import type { KernelId } from '../core/ids.js';
import type { Kernel } from '../kernels/kernel.js';

/** What one agent has written down about its kernels. */
export interface AgentBooks {
  readonly kernels: Iterable<Pick<Kernel, 'id' | 'termination' | 'allocation' | 'ports'>>;
  /** Ids of the kernels that devices are allocated to. */
  readonly allocated: ReadonlySet<string>;
  /** Host port -> the kernel that holds it. */
  readonly holders: ReadonlyMap<number, KernelId>;
}

/** What of the books does not fit together, a sentence each; empty when all is well. */
export function examine({ kernels, allocated, holders }: AgentBooks): readonly string[] {
  const all = [...kernels];
  const here = new Set<string>(all.map(({ id }) => id));
  // What a kernel holds goes back while it ends, so those that end are of no interest here.
  const living = all.filter(({ termination }) => termination === null);
  return [
    ...[...allocated]
      .filter((kernelId) => !here.has(kernelId))
      .map((kernelId) => `devices are allocated to kernel ${kernelId}, which is not here`),
    ...[...holders]
      .filter(([, kernelId]) => !here.has(kernelId))
      .map(([port, kernelId]) => `port ${String(port)} is held by kernel ${kernelId}, which is not here`),
    ...living
      .filter(({ id, allocation }) => allocation !== null && !allocated.has(id))
      .map(({ id }) => `kernel ${id} uses devices that are not allocated to it`),
    ...living.flatMap(({ id, ports }) =>
      (ports?.booked ?? [])
        .filter((port) => holders.get(port) !== id)
        .map((port) => `kernel ${id} uses port ${String(port)}, which it does not hold`),
    ),
  ];
}
