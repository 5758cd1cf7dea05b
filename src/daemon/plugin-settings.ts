import { within } from '../core/async.js';
import type { Clock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { AgentEtcdView } from '../stores/agent-etcd-view.js';
import type { KeyWatch } from '../stores/key-value-store.js';
import type { NestedMap } from '../stores/nested-map.js';

const CLOSE_MS = 2000;
const RETRY_MS = { first: 500, most: 30_000 } as const;

/** Settings of one plugin as it wants them: all texts. */
export type PluginTexts = Readonly<Record<string, string>>;

/** Groups of plugins in the store, below `config/plugins` (spec/events-and-stores.md 1.4, row 9). */
export type PluginGroup = 'accelerator' | 'network_agent' | 'metadata_app';

const KINDS: Readonly<Record<PluginGroup, string>> = {
  accelerator: 'device plugin',
  network_agent: 'network plugin',
  metadata_app: 'metadata plugin',
};

/** What takes new settings. */
export interface PluginHolder {
  /**
   * Names of the changed settings that take effect only with the next start.
   * @throws for settings that the plugin refuses; it goes on with those it had.
   */
  updateSettings(key: string, before: PluginTexts, settings: PluginTexts): Promise<readonly string[]>;
}

interface PluginSettingsParts {
  readonly group: PluginGroup;
  /** The plugins that follow the store, with what they were started with. */
  readonly started: ReadonlyMap<string, PluginTexts>;
  readonly view: AgentEtcdView;
  readonly plugins: PluginHolder;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Tables of a file hold more than texts. */
export const textSettings = (table: Readonly<Record<string, unknown>>): PluginTexts =>
  Object.fromEntries(
    Object.entries(table).map(([key, value]) => [
      key,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  );

/** Follows `config/plugins/<group>/<plugin>` of the store and hands what changed to the plugin. */
export class PluginSettings {
  readonly #parts: PluginSettingsParts;
  readonly #prefix: string;
  readonly #known: Map<string, PluginTexts>;
  readonly #stop = new AbortController();
  readonly #loop: Promise<void>;
  #changed = true;
  #wake: () => void = () => undefined;

  /** Starts at once; a store that is away is waited for in the background. */
  constructor(parts: PluginSettingsParts) {
    this.#parts = parts;
    this.#prefix = `config/plugins/${parts.group}`;
    this.#known = new Map(parts.started);
    this.#loop = this.#known.size === 0 ? Promise.resolve() : this.#follow();
  }

  /** Waits no longer than this for a store that does not answer. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the watch of plugin settings closes'));
    this.#wake();
    await within(this.#loop, { timeoutMs: CLOSE_MS, what: 'the end of a watch' }).catch(() => undefined);
  }

  async #follow(): Promise<void> {
    const { view, clock, logger } = this.#parts;
    const { signal } = this.#stop;
    let watch: KeyWatch | undefined;
    let retryMs: number = RETRY_MS.first;
    while (!signal.aborted)
      try {
        watch ??= await view.watchPrefix(`${this.#prefix}/`, () => {
          this.#changed = true;
          this.#wake();
        });
        // Read whole after each event, also those that come while it is read.
        while (this.#takeChange()) await this.#apply(await view.getPrefix(this.#prefix));
        retryMs = RETRY_MS.first;
        await this.#nextChange();
      } catch (error) {
        if (retryMs === RETRY_MS.first)
          logger.warn('settings of plugins cannot be followed; trying on', { error: messageOf(error) });
        this.#changed = true;
        await clock.sleep(retryMs, signal).catch(() => undefined);
        retryMs = Math.min(retryMs * 2, RETRY_MS.most);
      }
    await watch?.close();
  }

  #takeChange(): boolean {
    const changed = this.#changed && !this.#stop.signal.aborted;
    this.#changed = false;
    return changed;
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      if (this.#changed || this.#stop.signal.aborted) resolve();
    });
  }

  async #apply(tree: NestedMap): Promise<void> {
    const { group, plugins, logger } = this.#parts;
    const kind = KINDS[group];
    for (const [key, before] of this.#known) {
      const settings = settingsIn(tree, key);
      const names = changedNames(before, settings);
      if (names.length === 0) continue;
      this.#known.set(key, settings);
      try {
        const waiting = await plugins.updateSettings(key, before, settings);
        const fields = { plugin: key, changed: names };
        if (waiting.length === 0) logger.info(`new settings of a ${kind} are in force`, fields);
        else
          logger.warn(`settings of a ${kind} have changed; some take effect after a restart`, {
            ...fields,
            waitingForRestart: waiting,
          });
      } catch (error) {
        logger.error(`a ${kind} refuses its new settings and goes on with those it had`, {
          plugin: key,
          error: messageOf(error),
        });
      }
    }
  }
}

/** What a tree of the store has for one plugin. */
export const settingsIn = (tree: NestedMap, key: string): PluginTexts => {
  const found = tree.get(key);
  return found instanceof Map ? textSettings(plainObject(found)) : {};
};

/** Names of settings that came, went or have another value. */
export const changedNames = (before: PluginTexts, after: PluginTexts): readonly string[] =>
  [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((name) => before[name] !== after[name])
    .sort();

/** A tree of the store as an object; values are texts. */
export const plainObject = (tree: NestedMap): Record<string, unknown> =>
  Object.fromEntries(
    [...tree].map(([key, value]) => [key, value instanceof Map ? plainObject(value) : value]),
  );
