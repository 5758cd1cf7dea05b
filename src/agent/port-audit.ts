import type { KernelId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { KernelRegistry } from '../kernels/kernel-registry.js';
import type { PortPool } from './port-pool.js';

/**
 * Takes back host ports whose owner is gone (spec/kernel-lifecycle.md 5.6, 9.4 L6). Every port has its owner, so what
 * is bound at the moment does not matter: a slow creation, a host network and a port that the manager reserved keep
 * theirs. A kernel is registered before it gets its first port and gives them back before it leaves, so a find is a
 * defect of this program; it is logged as one.
 */
export class PortAudit {
  readonly #ports: Pick<PortPool, 'holders' | 'releaseAll'>;
  readonly #registry: Pick<KernelRegistry, 'has'>;
  readonly #logger: Logger;
  /** Owners that were missing in the round before. */
  #suspects: ReadonlySet<KernelId> = new Set();

  constructor(parts: {
    readonly ports: Pick<PortPool, 'holders' | 'releaseAll'>;
    readonly registry: Pick<KernelRegistry, 'has'>;
    readonly logger: Logger;
  }) {
    this.#ports = parts.ports;
    this.#registry = parts.registry;
    this.#logger = parts.logger;
  }

  /** Ports go back in the second round in which their owner is missing. */
  round(): void {
    const owners = new Set(this.#ports.holders().values());
    const missing = [...owners].filter((kernelId) => !this.#registry.has(kernelId));
    for (const kernelId of missing.filter((one) => this.#suspects.has(one))) {
      this.#ports.releaseAll(kernelId);
      this.#logger.error('host ports of a kernel that is gone were still held; they are free now', {
        kernelId,
      });
    }
    this.#suspects = new Set(missing);
  }
}
