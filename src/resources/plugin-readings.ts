import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { Device, DeviceMeasure, DevicePlugin, HardwareInfo } from './devices/device-plugin.js';
import { PluginQuestion } from './devices/plugin-question.js';
import { requireUsableDevices } from './devices/plugin-rules.js';

interface PluginReadingsParts {
  readonly plugins: ReadonlyMap<string, DevicePlugin>;
  readonly logger: Logger;
  readonly timeouts?: PluginTimeouts | undefined;
}

/** How long each answer of a plugin is waited for. */
export interface PluginTimeouts {
  readonly discoverMs: number;
  readonly measureMs: number;
  readonly hardwareInfoMs: number;
}

/** A tool of a driver may take as long as 20 s; figures that take so long are left out of a round. */
export const PLUGIN_TIMEOUTS: PluginTimeouts = {
  discoverMs: 30_000,
  measureMs: 5000,
  hardwareInfoMs: 30_000,
};

/** What one plugin measures on the whole node. */
export interface PluginMeasures {
  readonly plugin: DevicePlugin;
  readonly measures: readonly DeviceMeasure[];
}

/** What device plugins say while the agents run: each has its time limit, and none delays the others. */
export class PluginReadings {
  readonly #plugins: ReadonlyMap<string, DevicePlugin>;
  readonly #devices: PluginQuestion<readonly Device[]>;
  readonly #measures: PluginQuestion<readonly DeviceMeasure[]>;
  readonly #info: PluginQuestion<HardwareInfo | null>;

  constructor({ plugins, logger, timeouts = PLUGIN_TIMEOUTS }: PluginReadingsParts) {
    this.#plugins = plugins;
    this.#devices = new PluginQuestion({
      failure: 'device re-scan failed',
      timeoutMs: timeouts.discoverMs,
      ask: async (plugin) => {
        const devices = await plugin.discover();
        requireUsableDevices(plugin, devices);
        return devices;
      },
      logger,
    });
    this.#measures = new PluginQuestion({
      failure: 'device measures failed',
      timeoutMs: timeouts.measureMs,
      ask: async (plugin) => (await plugin.measure?.()) ?? [],
      logger,
    });
    this.#info = new PluginQuestion({
      failure: 'device health unknown',
      timeoutMs: timeouts.hardwareInfoMs,
      ask: async (plugin) => (await plugin.hardwareInfo?.()) ?? null,
      logger,
    });
  }

  /** Device name -> what is found now; of a plugin without an answer what is known. */
  async devices(
    known: ReadonlyMap<string, readonly Device[]>,
  ): Promise<ReadonlyMap<string, readonly Device[]>> {
    const found = await this.#each(async (plugin) => {
      const answered = await this.#devices.tryAsk(plugin);
      return [plugin.key, answered?.answer ?? known.get(plugin.key) ?? []] as const;
    });
    return new Map(found);
  }

  /** A plugin without an answer has none. */
  measures(): Promise<readonly PluginMeasures[]> {
    return this.#each(async (plugin) => {
      const answered = await this.#measures.tryAsk(plugin);
      return { plugin, measures: answered?.answer ?? [] };
    });
  }

  /** Device name -> health; families without such knowledge are left out (spec/config-and-resources.md 6.7). */
  async hardwareInfo(): Promise<Record<string, HardwareInfo>> {
    const answers = await this.#each(async (plugin): Promise<[string, HardwareInfo | null]> => {
      try {
        return [plugin.key, await this.#info.ask(plugin)];
      } catch (error) {
        return [plugin.key, { status: 'unavailable', statusInfo: messageOf(error), metadata: {} }];
      }
    });
    return Object.fromEntries(answers.flatMap(([name, info]) => (info === null ? [] : [[name, info]])));
  }

  /** All at once; results in the order of the plugins. */
  #each<T>(work: (plugin: DevicePlugin) => Promise<T>): Promise<readonly T[]> {
    return Promise.all([...this.#plugins.values()].map(work));
  }
}
