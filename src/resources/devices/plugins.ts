import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { importPlugin } from '../../plugins/package.js';
import {
  type BuiltinName,
  contradictionOf,
  isSelected,
  packagesOf,
  type PluginSelection,
  settingsKey,
} from '../../plugins/selection.js';
import { DevicePluginError } from '../errors.js';
import { createCudaPlugin } from './cuda.js';
import type { DevicePlugin, DevicePluginFactory } from './device-plugin.js';

export interface LoadDevicePluginsOptions extends PluginSelection {
  /** Names of packages to load besides those that `allow` names. */
  readonly packages?: readonly string[];
  /** Directory from which packages are found, as `require` would there. */
  readonly resolveFrom: string;
  /** The settings of one plugin: `config/plugins/accelerator/<key>/` of the store. */
  readonly settingsOf: (key: string) => Promise<Readonly<Record<string, string>>>;
  readonly logger: Logger;
  /** Default: the plugins this program brings. */
  readonly builtin?: readonly BuiltinPlugin[];
}

export interface BuiltinPlugin extends BuiltinName {
  readonly create: DevicePluginFactory['create'];
}

const FACTORY = 'device plugin factory of API version 1';

const BUILTIN: readonly BuiltinPlugin[] = [
  { key: 'cuda', pythonModule: 'ai.backend.accelerator.cuda_open', create: createCudaPlugin },
];

/**
 * The accelerator plugins of this machine (spec/config-and-resources.md 6.2), besides `cpu` and `mem`. A plugin that
 * cannot be loaded or started is logged and left out: a broken driver must not keep the node from its other work.
 * @throws DevicePluginError when a name is both allowed and blocked.
 */
export async function loadDevicePlugins(options: LoadDevicePluginsOptions): Promise<readonly DevicePlugin[]> {
  const contradiction = contradictionOf(options);
  if (contradiction !== null) throw new DevicePluginError(contradiction);
  const builtin = options.builtin ?? BUILTIN;
  const { packages, python } = packagesOf(options, options.packages ?? [], builtin);
  if (python.length > 0)
    options.logger.warn('plugins of the original are Python and cannot be loaded', { plugins: python });
  const plugins: DevicePlugin[] = [];
  const add = async (name: string, key: string, load: () => Promise<DevicePluginFactory['create']>) => {
    try {
      const create = await load();
      const settings = await options.settingsOf(key);
      const plugin = await create({ settings, logger: options.logger.child({ plugin: key }) });
      if (plugin) plugins.push(plugin);
      else options.logger.debug('device plugin has nothing to do here', { plugin: name });
    } catch (error) {
      options.logger.error('device plugin left out', { plugin: name, error: messageOf(error) });
    }
  };
  for (const { key, pythonModule, create } of builtin)
    if (isSelected([key, pythonModule], options)) await add(key, key, () => Promise.resolve(create));
  const factory = { resolveFrom: options.resolveFrom, is: isFactory, kind: FACTORY };
  for (const name of packages)
    if (isSelected([name], options))
      await add(name, settingsKey(name), async () => {
        const found = await importPlugin(name, factory);
        return (context) => found.create(context);
      });
  return plugins;
}

const isFactory = (value: unknown): value is DevicePluginFactory =>
  typeof value === 'object' &&
  value !== null &&
  'apiVersion' in value &&
  value.apiVersion === 1 &&
  'create' in value &&
  typeof value.create === 'function';
