import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { importPlugin } from '../plugins/package.js';
import { settingsKey } from '../plugins/selection.js';
import type { MetadataPlugin, MetadataPluginFactory } from './metadata-plugin.js';

/**
 * The metadata plugins of this process. One that cannot be loaded, or that has the name of an earlier one, is logged and
 * left out: the other values are there.
 */
export async function loadMetadataPlugins(options: {
  readonly packages: readonly string[];
  /** Directory from which packages are found, as `require` would there. */
  readonly resolveFrom: string;
  readonly settingsOf: (key: string) => Readonly<Record<string, string>>;
  readonly onLoaded?: (key: string, plugin: MetadataPlugin) => void;
  readonly logger: Logger;
}): Promise<readonly MetadataPlugin[]> {
  const { logger, resolveFrom } = options;
  const plugins = new Map<string, MetadataPlugin>();
  for (const name of new Set(options.packages)) {
    const leaveOut = (error: string): void => {
      logger.error('metadata plugin left out', { plugin: name, error });
    };
    try {
      const key = settingsKey(name);
      const factory = await importPlugin(name, { resolveFrom, is: isFactory, kind: FACTORY });
      const plugin: unknown = await factory.create({
        settings: options.settingsOf(key),
        logger: logger.child({ plugin: key }),
      });
      if (plugin === undefined) logger.debug('metadata plugin has nothing to tell here', { plugin: name });
      else if (!isPlugin(plugin)) leaveOut('it has no name or no paths that fit into an address, or no read');
      else if (plugins.has(plugin.name)) leaveOut(`there is another one of the name ${plugin.name}`);
      else {
        plugins.set(plugin.name, plugin);
        options.onLoaded?.(key, plugin);
      }
    } catch (error) {
      leaveOut(messageOf(error));
    }
  }
  return [...plugins.values()];
}

const FACTORY = 'metadata plugin factory of API version 1';

const isFactory = (value: unknown): value is MetadataPluginFactory =>
  typeof value === 'object' &&
  value !== null &&
  'apiVersion' in value &&
  value.apiVersion === 1 &&
  'kind' in value &&
  value.kind === 'metadata' &&
  'create' in value &&
  typeof value.create === 'function';

const isPart = (text: string): boolean => /^[\w.-]+$/.test(text) && text !== '.' && text !== '..';

const isPlugin = (value: unknown): value is MetadataPlugin =>
  typeof value === 'object' &&
  value !== null &&
  'name' in value &&
  typeof value.name === 'string' &&
  isPart(value.name) &&
  'paths' in value &&
  Array.isArray(value.paths) &&
  value.paths.length > 0 &&
  value.paths.every((path) => typeof path === 'string' && path.split('/').every(isPart)) &&
  'read' in value &&
  typeof value.read === 'function';
