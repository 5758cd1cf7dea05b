import type { DaemonConfig } from '../config/index.js';
import { systemClock } from '../core/clock.js';
import type { DisposalStack } from '../core/disposal.js';
import type { Logger } from '../core/logger.js';
import { loadNetworkPlugins } from '../kernels/networks/load.js';
import { SessionNetworks } from '../kernels/networks/session-networks.js';
import { PackagePlugins } from './package-plugins.js';
import type { StoreWait } from './store-wait.js';
import type { AgentEtcdView } from '../stores/agent-etcd-view.js';

/**
 * The networks that all agents of the process can put kernels on.
 * @throws ValueError for a plugin both allowed and blocked; as `PackagePlugins.read`.
 */
export async function openSessionNetworks(options: {
  readonly config: DaemonConfig;
  /** Where packages are found. */
  readonly cwd: string;
  readonly view: AgentEtcdView;
  readonly wait: StoreWait;
  readonly parts: DisposalStack;
  readonly logger: Logger;
}): Promise<SessionNetworks> {
  const { config, parts, logger } = options;
  const { allow, block } = config.networkPlugins;
  const found = await PackagePlugins.read({ ...options, group: 'network_agent', tables: config.networks });
  const plugins = await loadNetworkPlugins({
    allow,
    block: block ?? [],
    packages: found.packages,
    resolveFrom: options.cwd,
    settingsOf: found.settingsOf,
    onLoaded: found.loaded,
    logger,
  });
  const networks = new SessionNetworks(plugins);
  parts.defer('network plugins', () => networks.close(logger));
  const settings = found.follow({ clock: systemClock, logger });
  parts.defer('settings of network plugins', () => settings.close());
  return networks;
}
