import { z } from 'zod';
import type { KernelBackend } from '../../backends/backend.js';
import { isSpleniumError } from '../../core/errors.js';
import type { Kernel, KernelPorts } from '../kernel.js';
import type { ServicePort } from '../requests.js';
import type { HostPorts } from './parts.js';
import { fixedPortsOf } from './service-ports.js';

const failureSchema = z.object({ takenPorts: z.array(z.int()) });

/**
 * The host ports for which a start has failed, where others would do: those of the pool, none of which the manager knows
 * before the kernel runs. Empty: it has failed for another reason, or for a port that it cannot do without, such as the
 * SSH port that the other kernels of its cluster have been told. Pure.
 */
export function replaceablePorts(
  kernel: Pick<Kernel, 'ports' | 'request' | 'servicePorts'>,
  failure: unknown,
  backend: Pick<KernelBackend, 'isOnHostNetwork'>,
): readonly number[] {
  const parsed = failureSchema.safeParse(isSpleniumError(failure) ? failure.details : null);
  if (!parsed.success) return [];
  const { takenPorts } = parsed.data;
  const fixed = [...fixedPortsOf(kernel.request, kernel.servicePorts, backend).values()].flat();
  const isOurs = (port: number) => kernel.ports?.booked.includes(port) === true && !fixed.includes(port);
  return takenPorts.every(isOurs) ? takenPorts : [];
}

/** Gives the kernel other ports of the pool. @throws PortPoolExhaustedError, InvariantError; nothing has changed then. */
export async function replacePorts(pool: HostPorts, kernel: Kernel, taken: readonly number[]): Promise<void> {
  const { ports, servicePorts } = kernel;
  if (ports === null) return;
  const fresh = await pool.exchange(kernel.id, taken);
  kernel.learn(withPorts({ ports, servicePorts }, new Map(taken.map((port, index) => [port, fresh[index]]))));
}

/** Pure. */
function withPorts(
  { ports, servicePorts }: { readonly ports: KernelPorts; readonly servicePorts: readonly ServicePort[] },
  changes: ReadonlyMap<number, number | undefined>,
): { readonly ports: KernelPorts; readonly servicePorts: readonly ServicePort[] } {
  const now = (port: number) => changes.get(port) ?? port;
  return {
    ports: { replIn: now(ports.replIn), replOut: now(ports.replOut), booked: ports.booked.map(now) },
    servicePorts: servicePorts.map((service) => ({
      ...service,
      hostPorts: service.hostPorts.map((port) => (port === null ? null : now(port))),
    })),
  };
}
