import { messageOf, ValueError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { importPlugin } from '../../plugins/package.js';
import {
  contradictionOf,
  isSelected,
  packagesOf,
  type PluginSelection,
  settingsKey,
} from '../../plugins/selection.js';
import { BUILT_IN_NETWORKS } from './built-in.js';
import type { NetworkPlugin, NetworkPluginFactory } from './network-plugin.js';

export interface LoadNetworkPluginsOptions extends PluginSelection {
  /** Names of packages to load besides those that `allow` names. */
  readonly packages?: readonly string[];
  /** Directory from which packages are found, as `require` would there. */
  readonly resolveFrom: string;
  readonly settingsOf: (key: string) => Readonly<Record<string, string>>;
  /** Told of each plugin of a package, with the name of its settings. */
  readonly onLoaded?: (key: string, plugin: NetworkPlugin) => void;
  readonly logger: Logger;
}

/**
 * The network plugins of this process. One that cannot be loaded is logged and left out: only sessions that ask for it
 * fail then.
 * @throws ValueError when a name is both allowed and blocked.
 */
export async function loadNetworkPlugins(
  options: LoadNetworkPluginsOptions,
): Promise<readonly NetworkPlugin[]> {
  const { logger, resolveFrom } = options;
  const contradiction = contradictionOf(options);
  if (contradiction !== null) throw new ValueError(`network plugins: ${contradiction}`);
  const plugins = BUILT_IN_NETWORKS.filter(({ key, pythonModule }) =>
    isSelected([key, pythonModule], options),
  ).map(({ plugin }) => plugin);
  const { packages, python } = packagesOf(options, options.packages ?? [], BUILT_IN_NETWORKS);
  if (python.length > 0)
    logger.warn('network plugins of the original are Python and cannot be loaded', { plugins: python });
  for (const name of packages) {
    if (!isSelected([name], options)) continue;
    try {
      const key = settingsKey(name);
      const factory = await importPlugin(name, { resolveFrom, is: isFactory, kind: FACTORY });
      const plugin: unknown = await factory.create({
        settings: options.settingsOf(key),
        logger: logger.child({ plugin: key }),
      });
      if (plugin === undefined) logger.debug('network plugin has nothing to do here', { plugin: name });
      else if (isPlugin(plugin)) {
        plugins.push(plugin);
        options.onLoaded?.(key, plugin);
      } else
        logger.error('network plugin left out', {
          plugin: name,
          error: 'it has no name of its own, or no join',
        });
    } catch (error) {
      logger.error('network plugin left out', { plugin: name, error: messageOf(error) });
    }
  }
  return plugins;
}

const FACTORY = 'network plugin factory of API version 1';

const isFactory = (value: unknown): value is NetworkPluginFactory =>
  typeof value === 'object' &&
  value !== null &&
  'apiVersion' in value &&
  value.apiVersion === 1 &&
  'kind' in value &&
  value.kind === 'network' &&
  'create' in value &&
  typeof value.create === 'function';

/** `bridge` is no plugin's name: it needs none. */
const isPlugin = (value: unknown): value is NetworkPlugin =>
  typeof value === 'object' &&
  value !== null &&
  'name' in value &&
  typeof value.name === 'string' &&
  !['', 'bridge'].includes(value.name) &&
  'join' in value &&
  typeof value.join === 'function';
