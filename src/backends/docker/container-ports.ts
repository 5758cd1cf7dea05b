import type { PortMap } from 'dockerode';
import type { KernelPlan, PlannedPort } from '../backend.js';
import type { Container } from './engine-schemas.js';
import { PortMismatchError } from './errors.js';
import { REPL_IN_PORT, REPL_OUT_PORT } from './kernel-labels.js';

const LOOPBACK = '127.0.0.1';

/** The runner's two, only for this machine, and those of the services. */
function publishedPorts(plan: KernelPlan): readonly Omit<PlannedPort, 'name'>[] {
  return [
    { containerPort: REPL_IN_PORT, hostPort: plan.replInPort, bindHost: LOOPBACK },
    { containerPort: REPL_OUT_PORT, hostPort: plan.replOutPort, bindHost: LOOPBACK },
    ...plan.ports.filter(
      ({ containerPort }) => containerPort !== REPL_IN_PORT && containerPort !== REPL_OUT_PORT,
    ),
  ];
}

/** As the engine writes it: `2000/tcp`. */
const inside = (containerPort: number): string => `${String(containerPort)}/tcp`;

export const exposedPortsOf = (plan: KernelPlan): Record<string, Record<string, never>> =>
  Object.fromEntries(publishedPorts(plan).map(({ containerPort }) => [inside(containerPort), {}]));

export function portBindingsOf(plan: KernelPlan): PortMap {
  const bindings: PortMap = {};
  for (const { containerPort, hostPort, bindHost } of publishedPorts(plan))
    (bindings[inside(containerPort)] ??= []).push({ HostPort: String(hostPort), HostIp: bindHost });
  return bindings;
}

/** The reservation in the words of an inspection: `2000/tcp` -> host ports. */
export function publishedOf(plan: KernelPlan): Record<string, number[]> {
  const published: Record<string, number[]> = {};
  for (const { containerPort, hostPort } of publishedPorts(plan))
    (published[inside(containerPort)] ??= []).push(hostPort);
  return published;
}

/**
 * Does the running container have the host ports that were reserved for it (spec/kernel-lifecycle.md 9.1 C8)? On the
 * machine's network nothing is published and nothing compared.
 * @throws PortMismatchError naming the first that is missing or another one.
 */
export function checkPorts(
  container: Container,
  reserved: Readonly<Record<string, readonly number[]>>,
): void {
  for (const [port, hostPorts] of Object.entries(reserved)) {
    const published = container.NetworkSettings.ports[port] ?? [];
    if (published.length === 0)
      throw new PortMismatchError(`container ${container.Id}: the engine has not published port ${port}`);
    for (const hostPort of hostPorts)
      if (!published.includes(hostPort))
        throw new PortMismatchError(
          `container ${container.Id}: port ${port} is published at ${published.join(', ')} and not at ${String(hostPort)}, ` +
            'which was reserved for it: does an override file of container options change PortBindings?',
        );
  }
}

/** What engines say, in all their releases, of a host port that they cannot have. */
const IN_USE = /address already in use|port is already allocated/i;

/**
 * Which of the reserved host ports a start has failed for because something else on this machine has them; all of them
 * when the engine does not say which. Pure.
 */
export function takenPortsOf(
  message: string,
  reserved: Readonly<Record<string, readonly number[]>>,
): readonly number[] {
  if (!IN_USE.test(message)) return [];
  const ports = Object.values(reserved).flat();
  const named = new Set([...message.matchAll(/:(\d+)/g)].map(([, port]) => Number(port)));
  const taken = ports.filter((port) => named.has(port));
  return taken.length > 0 ? taken : ports;
}
