import type { ContainerCreateOptions, HostConfig } from 'dockerode';
import type { KernelPlan } from '../backend.js';

/** spec/kernel-lifecycle.md 2.12. Pure. */
export function networkOf(plan: KernelPlan): {
  readonly options: Pick<ContainerCreateOptions, 'Hostname' | 'NetworkingConfig'>;
  readonly hostConfig: Partial<HostConfig>;
} {
  const { network, alternativeBridge } = plan;
  if (network?.mode === 'host')
    return {
      // With the machine's network comes the machine's name.
      options: {},
      hostConfig: {
        NetworkMode: 'host',
        ExtraHosts: Object.entries(network.hosts).map(([name, address]) => `${name}:${address}`),
      },
    };
  if (network?.mode === 'options') return { options: { Hostname: plan.hostname }, hostConfig: {} };
  // The agent's own bridge overrides the mode; the session's network is joined all the same.
  const name = alternativeBridge ?? network?.name;
  return {
    options: {
      Hostname: plan.hostname,
      ...(network
        ? { NetworkingConfig: { EndpointsConfig: { [network.name]: { Aliases: [...network.aliases] } } } }
        : {}),
    },
    hostConfig: name === undefined ? {} : { NetworkMode: name },
  };
}

/**
 * MPI over a network that spans machines, or over that of the machine, must not take the bridge by which containers
 * reach the world: it is the same on every node. `subnet`: of that bridge; null when there is none.
 */
export function mpiVariables(plan: KernelPlan, subnet: string | null): Readonly<Record<string, string>> {
  return usesGateway(plan) && subnet !== null
    ? { OMPI_MCA_btl_tcp_if_exclude: `127.0.0.1/32,${subnet}` }
    : {};
}

/** Does the kernel's network, as far as one can tell, lead beyond this machine? */
export const usesGateway = ({ network }: KernelPlan): boolean =>
  network !== undefined && (network.mode !== 'named' || network.spansMachines === true);

/** Are the ports somebody else's matter, so that the engine publishes none? */
export const hasOwnPorts = ({ network }: KernelPlan): boolean =>
  network?.mode === 'host' || (network?.mode === 'options' && network.publishesPorts);

/** The bridge that an engine in a swarm makes for the traffic of containers of overlay networks. */
export const SWARM_GATEWAY = 'docker_gwbridge';
