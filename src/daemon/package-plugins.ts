import type { OpaqueTables } from '../config/index.js';
import { within } from '../core/async.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { StoreWait } from './store-wait.js';
import type { AgentEtcdView } from '../stores/agent-etcd-view.js';
import type { NestedMap } from '../stores/nested-map.js';
import {
  changedNames,
  type PluginGroup,
  type PluginHolder,
  PluginSettings,
  type PluginTexts,
  settingsIn,
  textSettings,
} from './plugin-settings.js';

interface UpdatablePlugin {
  /** Takes what it can of all its settings and names those that need a restart. */
  updateSettings?(settings: PluginTexts): Promise<readonly string[]>;
}

interface PackagePluginsParts {
  readonly group: Exclude<PluginGroup, 'accelerator'>;
  /** The file's, by plugin; `package` names what is to be loaded. */
  readonly tables: OpaqueTables;
  readonly view: AgentEtcdView;
  readonly wait: StoreWait;
}

/** A plugin that hangs must not keep the others from their settings. */
const UPDATE_MS = 10_000;

/**
 * The plugins of one group that come as packages, and their settings: those of the file's table; when that has none but
 * the name of the package, those of the store, which are followed while the node runs.
 */
export class PackagePlugins implements PluginHolder {
  readonly #parts: PackagePluginsParts;
  readonly #tree: NestedMap;
  readonly #plugins = new Map<string, UpdatablePlugin>();

  private constructor(parts: PackagePluginsParts, tree: NestedMap) {
    this.#parts = parts;
    this.#tree = tree;
  }

  /** @throws StoreUnavailableError when the start has a deadline and it passes; the wait's signal's reason. */
  static async read(parts: PackagePluginsParts): Promise<PackagePlugins> {
    const { group, view, wait } = parts;
    const tree = await wait.until(`settings of plugins (${group}) in the store`, () =>
      view.getPrefix(`config/plugins/${group}`),
    );
    return new PackagePlugins(parts, tree);
  }

  /** Names of the packages that the file's tables name. */
  get packages(): readonly string[] {
    return Object.values(this.#parts.tables).flatMap(({ package: name }) =>
      typeof name === 'string' ? [name] : [],
    );
  }

  readonly settingsOf = (key: string): PluginTexts =>
    this.#standsInFile(key) ? textSettings(this.#parts.tables[key] ?? {}) : settingsIn(this.#tree, key);

  /** Told of each plugin that was loaded. */
  readonly loaded = (key: string, plugin: UpdatablePlugin): void => {
    this.#plugins.set(key, plugin);
  };

  async updateSettings(key: string, before: PluginTexts, settings: PluginTexts): Promise<readonly string[]> {
    const plugin = this.#plugins.get(key);
    if (!plugin?.updateSettings) return changedNames(before, settings);
    const waiting: unknown = await within(plugin.updateSettings(settings), {
      timeoutMs: UPDATE_MS,
      what: `new settings of plugin ${key}`,
    });
    // What a package answers is not to be trusted to have the right shape.
    return Array.isArray(waiting) ? waiting.filter((name) => typeof name === 'string') : [];
  }

  /** Hands changes of the store to the plugins until it is closed. */
  follow(parts: { readonly clock: Clock; readonly logger: Logger }): PluginSettings {
    const keys = [...this.#plugins.keys()].filter((key) => !this.#standsInFile(key));
    const { group, view } = this.#parts;
    return new PluginSettings({
      ...parts,
      group,
      view,
      started: new Map(keys.map((key) => [key, this.settingsOf(key)])),
      plugins: this,
    });
  }

  #standsInFile(key: string): boolean {
    return Object.keys(this.#parts.tables[key] ?? {}).some((name) => name !== 'package');
  }
}
