import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { SpleniumError } from '../core/errors.js';

/** A package that is no plugin of the kind that is wanted. */
export class PluginPackageError extends SpleniumError {
  override readonly code = 'PLUGIN_PACKAGE';
  override readonly pythonName = 'RuntimeError';
}

const PACKAGE_NAME = /^(?:@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]*$/;

/**
 * The default export of a package that is found as `require` would find it in a directory.
 * @param kind What it should be, for the message: `device plugin factory of API version 1`.
 * @throws PluginPackageError, or what the package throws while it is loaded.
 */
export async function importPlugin<T>(
  name: string,
  options: {
    readonly resolveFrom: string;
    readonly is: (value: unknown) => value is T;
    readonly kind: string;
  },
): Promise<T> {
  if (!PACKAGE_NAME.test(name)) throw new PluginPackageError(`not a package name: '${name.slice(0, 100)}'`);
  const path = createRequire(join(options.resolveFrom, 'package.json')).resolve(name);
  const module: unknown = await import(pathToFileURL(path).href);
  const found = defaultOf(module, options.is);
  if (found === undefined)
    throw new PluginPackageError(`${name}: the default export is not a ${options.kind}`);
  return found;
}

/** A CommonJS module imported from here has its exports as the default, and a compiled one its own default in there. */
function defaultOf<T>(module: unknown, is: (value: unknown) => value is T): T | undefined {
  if (typeof module !== 'object' || module === null || !('default' in module)) return undefined;
  return is(module.default) ? module.default : defaultOf(module.default, is);
}
