import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { DevicePluginError } from '../errors.js';
import { createCudaPlugin } from './cuda.js';
import type { DevicePlugin, DevicePluginFactory } from './device-plugin.js';

export interface PluginSelection {
  /** `agent.allow-compute-plugins`; null: everything that is not blocked. Empty: nothing. */
  readonly allow: readonly string[] | null;
  /** `agent.block-compute-plugins`; wins. */
  readonly block: readonly string[];
}

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

export interface BuiltinPlugin {
  readonly key: string;
  /** The original's module, so that lists written for it mean the same here. */
  readonly pythonModule: string;
  readonly create: DevicePluginFactory['create'];
}

const BUILTIN: readonly BuiltinPlugin[] = [
  { key: 'cuda', pythonModule: 'ai.backend.accelerator.cuda_open', create: createCudaPlugin },
];

/**
 * The accelerator plugins of this machine (spec/config-and-resources.md 6.2), besides `cpu` and `mem`. A plugin that
 * cannot be loaded or started is logged and left out: a broken driver must not keep the node from its other work.
 * @throws DevicePluginError when a name is both allowed and blocked.
 */
export async function loadDevicePlugins(options: LoadDevicePluginsOptions): Promise<readonly DevicePlugin[]> {
  refuseContradiction(options);
  const builtin = options.builtin ?? BUILTIN;
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
  for (const name of packageNames(options, builtin))
    if (isSelected([name], options))
      await add(name, settingsKey(name), () => importFactory(name, options.resolveFrom));
  return plugins;
}

/** Does a name, or any of its other names, pass the lists? An item also stands for everything below it: `a.b` for `a.b.c`. */
export function isSelected(names: readonly string[], { allow, block }: PluginSelection): boolean {
  const isIn = (list: readonly string[]): boolean =>
    list.some((item) => names.some((name) => name === item || name.startsWith(`${item}.`)));
  return !isIn(block) && (allow === null || isIn(allow));
}

function refuseContradiction({ allow, block }: PluginSelection): void {
  const both = (allow ?? []).filter((item) => block.includes(item));
  if (both.length > 0)
    throw new DevicePluginError(
      `allowlist and blocklist has union value '{${both.map((item) => `'${item}'`).join(', ')}}'`,
    );
}

function packageNames(
  { packages = [], allow, logger }: LoadDevicePluginsOptions,
  builtin: readonly BuiltinPlugin[],
): readonly string[] {
  const named = (allow ?? []).filter(
    (item) =>
      !builtin.some(({ key, pythonModule }) => isSelected([key, pythonModule], { allow: [item], block: [] })),
  );
  const python = named.filter((name) => name.startsWith('ai.backend.'));
  if (python.length > 0)
    logger.warn('plugins of the original are Python and cannot be loaded', { plugins: python });
  return [...new Set([...packages, ...named.filter((name) => !python.includes(name))])];
}

/** `@scope/splenium-plugin-npu` has its settings under `npu`. */
const settingsKey = (packageName: string): string =>
  packageName.replace(/^@[^/]*\//, '').replace(/^splenium-(?:device-)?plugin-/, '');

const PACKAGE_NAME = /^(?:@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]*$/;

async function importFactory(name: string, resolveFrom: string): Promise<DevicePluginFactory['create']> {
  if (!PACKAGE_NAME.test(name)) throw new DevicePluginError(`not a package name: '${name.slice(0, 100)}'`);
  const path = createRequire(join(resolveFrom, 'package.json')).resolve(name);
  const module: unknown = await import(pathToFileURL(path).href);
  const factory = defaultOf(module);
  if (!isFactory(factory))
    throw new DevicePluginError(
      `${name}: the default export is not a device plugin factory of API version 1`,
    );
  return (context) => factory.create(context);
}

/** A CommonJS module imported from here has its exports as the default, and a compiled one its own default in there. */
function defaultOf(module: unknown): unknown {
  if (typeof module !== 'object' || module === null || !('default' in module)) return undefined;
  return isFactory(module.default) ? module.default : defaultOf(module.default);
}

const isFactory = (value: unknown): value is DevicePluginFactory =>
  typeof value === 'object' &&
  value !== null &&
  'apiVersion' in value &&
  value.apiVersion === 1 &&
  'create' in value &&
  typeof value.create === 'function';
