import type { DaemonConfig } from '../config/index.js';
import type { Logger } from '../core/logger.js';
import { loadNetworkPlugins } from '../kernels/networks/load.js';
import { SessionNetworks } from '../kernels/networks/session-networks.js';
import { textSettings } from './plugin-settings.js';

/** The networks that all agents of the process can put kernels on. @throws ValueError for a plugin both allowed and blocked. */
export async function openSessionNetworks(options: {
  readonly config: DaemonConfig;
  /** Where packages are found. */
  readonly cwd: string;
  readonly logger: Logger;
}): Promise<SessionNetworks> {
  const { networkPlugins, networks } = options.config;
  const plugins = await loadNetworkPlugins({
    allow: networkPlugins.allow,
    block: networkPlugins.block ?? [],
    packages: Object.values(networks).flatMap(({ package: name }) =>
      typeof name === 'string' ? [name] : [],
    ),
    resolveFrom: options.cwd,
    settingsOf: (key) => textSettings(networks[key] ?? {}),
    logger: options.logger,
  });
  return new SessionNetworks(plugins);
}
