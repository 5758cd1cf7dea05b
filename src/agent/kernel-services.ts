import { messageOf } from '../core/errors.js';
import type { KernelId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { KernelRegistry } from '../kernels/kernel-registry.js';
import type { ServiceStatus } from './agent.js';
import type { RunnerLinks } from './runner-links.js';

interface KernelServicesParts {
  readonly registry: KernelRegistry;
  readonly links: RunnerLinks;
  /** What the backend says: services listen on their host ports. */
  readonly isOnHostNetwork: boolean;
  readonly logger: Logger;
}

/** Starts and ends the services of one agent's kernels (spec/kernel-runner.md 3.11). */
export class KernelServices {
  readonly #parts: KernelServicesParts;

  constructor(parts: KernelServicesParts) {
    this.#parts = parts;
  }

  /**
   * A service that does not start is a `failed` result.
   * @throws KeyError for a kernel that is not here.
   */
  async start(
    kernelId: KernelId,
    service: string,
    options: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<ServiceStatus> {
    const kernel = this.#parts.registry.get(kernelId);
    if (kernel.request.config.internalData.blockServicePorts)
      return { status: 'failed', error: 'operation blocked' };
    const port = kernel.servicePorts.find(({ name }) => name === service);
    const listening = (this.#parts.isOnHostNetwork ? port?.hostPorts : port?.containerPorts) ?? [];
    const ports = listening.filter((number) => number !== null);
    const [first] = ports;
    if (!port || first === undefined) return { status: 'failed', error: 'invalid service name' };
    const request = { name: port.name, port: first, ports, protocol: port.protocol, options };
    const link = this.#parts.links.find(kernelId);
    if (!link) return { status: 'failed', error: 'the kernel is not running' };
    const { status, error } = await link.startService(request, { signal });
    return status === 'failed' ? { status, error: error ?? 'the service did not start' } : { status };
  }

  /** Fire and forget; an unknown kernel is only logged. */
  async shutdown(kernelId: KernelId, service: string): Promise<void> {
    const { registry, links, logger } = this.#parts;
    try {
      await links.of(registry.get(kernelId)).shutdownService(service);
    } catch (error) {
      logger.warn('service not shut down', { kernelId, service, error: messageOf(error) });
    }
  }
}
