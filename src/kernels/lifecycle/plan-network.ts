import type { PlannedNetwork } from '../../backends/backend.js';
import { ValueError } from '../../core/errors.js';
import type { KernelCreationRequest } from '../requests.js';

/**
 * The network of the kernel's session (spec/kernel-lifecycle.md 2.12); null: it has none, and the kernel gets the
 * agent's. `bridge` and `overlay` join a network that the manager has had made; `host` shares the machine's, where
 * kernels find each other by the addresses of the SSH port mapping.
 * @throws ValueError for a mode that is unknown or lacks the network's name.
 */
export function planNetwork({ cluster, config }: KernelCreationRequest): PlannedNetwork | null {
  const { mode, network_name: name } = cluster.networkConfig;
  switch (mode) {
    case undefined:
    case null:
    case '':
      return null;
    case 'host':
      return {
        mode: 'host',
        hosts: Object.fromEntries(
          Object.entries(cluster.clusterSshPortMapping ?? {}).map(([hostname, [address]]) => [
            hostname,
            address,
          ]),
        ),
      };
    case 'bridge':
    case 'overlay':
      if (typeof name !== 'string' || name === '')
        throw new ValueError(`network_config: mode ${mode} needs network_name`);
      return {
        mode: 'named',
        name,
        aliases: [config.clusterHostname],
        ...(mode === 'overlay' ? { spansMachines: true } : {}),
      };
    default:
      throw new ValueError(
        `network_config: there is no network plugin ${JSON.stringify(mode)} here; modes are bridge, overlay and host`,
      );
  }
}

/** Does the kernel share the machine's network, so that no port of it is translated? */
export const isOnHostNetwork = ({ cluster }: KernelCreationRequest): boolean =>
  cluster.networkConfig['mode'] === 'host';
