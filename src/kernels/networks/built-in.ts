import type { PlannedNetwork } from '../../backends/backend.js';
import { ValueError } from '../../core/errors.js';
import type { BuiltinName } from '../../plugins/selection.js';
import type { KernelCreationRequest } from '../requests.js';
import type { NetworkMember, NetworkPlugin } from './network-plugin.js';

/** Those that the original brings, too (spec/kernel-lifecycle.md 2.12). */
export const BUILT_IN_NETWORKS: readonly (BuiltinName & { readonly plugin: NetworkPlugin })[] = [
  {
    key: 'overlay',
    pythonModule: 'ai.backend.agent.docker.intrinsic',
    plugin: {
      name: 'overlay',
      join: (member) => settled(() => ({ ...namedNetwork(member), spansMachines: true })),
    },
  },
  {
    key: 'host',
    pythonModule: 'ai.backend.agent.docker.intrinsic',
    plugin: { name: 'host', join: (member) => settled(() => hostNetwork(member)) },
  },
];

/** A network that the manager has had made. @throws ValueError when it is not named. */
export function namedNetwork({ networkConfig, clusterHostname }: NetworkMember) {
  const { mode, network_name: name } = networkConfig;
  if (typeof name !== 'string' || name === '')
    throw new ValueError(`network_config: mode ${String(mode)} needs network_name`);
  return { mode: 'named', name, aliases: [clusterHostname] } as const;
}

/** The machine's own: kernels find each other by the addresses of the SSH port mapping. */
function hostNetwork({ sshPorts }: NetworkMember): PlannedNetwork {
  const hosts = Object.entries(sshPorts).map(([hostname, [address]]) => [hostname, address] as const);
  return { mode: 'host', hosts: Object.fromEntries(hosts) };
}

/** Does the kernel share the machine's network, so that no port of it is translated? */
export const isOnHostNetwork = ({ cluster }: Pick<KernelCreationRequest, 'cluster'>): boolean =>
  cluster.networkConfig['mode'] === 'host';

/** What is thrown is a rejection. */
const settled = (answer: () => PlannedNetwork): Promise<PlannedNetwork> =>
  new Promise((resolve) => {
    resolve(answer());
  });
