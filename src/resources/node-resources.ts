import { messageOf, ValueError } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { AgentResources } from './agent-resources.js';
import type { AffinityPolicy } from './alloc-map/affinity-map.js';
import { amountsOf } from './allocation.js';
import { DeviceLedger } from './device-ledger.js';
import type {
  Device,
  DeviceMeasure,
  DevicePlugin,
  HardwareInfo,
  SlotDescription,
} from './devices/device-plugin.js';
import { admitPlugins, requireUsableDevices } from './devices/plugin-rules.js';
import { InvalidResourceConfig } from './errors.js';
import type { AllocationMode, SlotAmounts } from './partition/modes.js';
import { type PluginMeasures, PluginReadings, type PluginTimeouts } from './plugin-readings.js';
import { Decimal, parseDecimal, positionalText, ZERO } from './quantity/decimal.js';
import { ResourceSlot } from './quantity/resource-slot.js';

export interface NodeResourcesOptions {
  /** `cpu` and `mem` among them; they take part last. */
  readonly plugins: readonly DevicePlugin[];
  /** In the order of the configuration. */
  readonly agents: readonly { readonly id: AgentId; readonly manual?: ManualShare | undefined }[];
  readonly mode: AllocationMode;
  /** Kept from kernels; in manual mode the agents' own amounts say it all. */
  readonly reserved: ReservedAmounts;
  readonly memoryAlignBytes: number | bigint;
  /** Device names. Ones that are missing come last. */
  readonly allocationOrder: readonly string[];
  readonly affinityPolicy: AffinityPolicy;
  readonly logger: Logger;
  /** How long answers of plugins are waited for once they take part. Default: `PLUGIN_TIMEOUTS`. */
  readonly pluginTimeouts?: PluginTimeouts;
}

/** What the machine keeps for itself: cores and bytes. */
export interface ReservedAmounts {
  readonly cpu: number;
  readonly memBytes: number | bigint;
  readonly diskBytes?: number | bigint;
}

/** One agent's part in manual mode: `cpu`, `mem` and every accelerator slot, by amount or by device ids. */
export interface ManualShare {
  /** Slot name -> amount; `mem` may be a size such as `8g`. */
  readonly slots: Readonly<Record<string, string>>;
  /** Device name -> ids of devices that are wholly this agent's. */
  readonly deviceIds?: Readonly<Record<string, readonly string[]>>;
}

/**
 * All resources of the machine, owned by the process and shared by its agents. One ledger knows every core, byte and
 * device; agents see their part of it.
 */
export class NodeResources {
  readonly #plugins: ReadonlyMap<string, DevicePlugin>;
  readonly #ledger: DeviceLedger;
  readonly #agents: ReadonlyMap<string, AgentResources>;
  readonly #logger: Logger;
  readonly #readings: PluginReadings;
  /** What was found last and cannot be shared: said once, not with every re-scan. */
  #refused: string | null = null;
  #found: ReadonlyMap<string, readonly Device[]>;
  #rescan: Promise<boolean> | undefined;
  #closing: Promise<void> | undefined;

  private constructor(
    options: NodeResourcesOptions,
    plugins: ReadonlyMap<string, DevicePlugin>,
    found: ReadonlyMap<string, readonly Device[]>,
  ) {
    const { agents, mode, allocationOrder, affinityPolicy, logger } = options;
    this.#plugins = plugins;
    this.#found = found;
    this.#logger = logger;
    this.#readings = new PluginReadings({ plugins, logger, timeouts: options.pluginTimeouts });
    this.#ledger = new DeviceLedger(
      {
        plugins,
        mode,
        agents: agents.map(({ id, manual }) => ({
          id,
          ...(manual ? { manual: { slots: manualSlots(id, manual), deviceIds: manual.deviceIds } } : {}),
        })),
        system: systemReserve(options.reserved),
        memoryAlignBytes: BigInt(options.memoryAlignBytes),
      },
      found,
    );
    this.#agents = new Map(
      agents.map(({ id }) => [
        id,
        new AgentResources({
          agentId: id,
          ledger: this.#ledger,
          plugins,
          allocationOrder,
          affinityPolicy,
          logger: logger.child({ agentId: id }),
        }),
      ]),
    );
  }

  /**
   * Asks every plugin for its devices and deals them out. A plugin other than `cpu` and `mem` that fails is left out.
   * @throws DevicePluginError for a plugin that breaks the contract; InvalidResourceConfig and ResourceOverAllocated
   * when machine and configuration do not fit.
   */
  static async create(options: NodeResourcesOptions): Promise<NodeResources> {
    const plugins = new Map(admitPlugins(options.plugins).map((plugin) => [plugin.key, plugin]));
    const found = new Map<string, readonly Device[]>();
    for (const [name, plugin] of plugins)
      try {
        const devices = await plugin.discover();
        requireUsableDevices(plugin, devices);
        found.set(name, devices);
      } catch (error) {
        if (name === 'cpu' || name === 'mem') throw error;
        options.logger.error('device plugin left out', { plugin: name, error: messageOf(error) });
        plugins.delete(name);
      }
    const unlisted = [...plugins.keys()].filter((name) => !options.allocationOrder.includes(name));
    if (unlisted.length > 0)
      options.logger.warn('devices missing in resource.allocation-order are allocated last', {
        deviceNames: unlisted,
      });
    if (options.agents.length === 0) throw new InvalidResourceConfig('no agent to share the resources');
    return new NodeResources(options, plugins, found);
  }

  /** @throws ValueError for an unknown id. */
  forAgent(id: AgentId): AgentResources {
    const agent = this.#agents.get(id);
    if (!agent) throw new ValueError(`Agent ID ${id} not in computers`);
    return agent;
  }

  /** @throws InvariantError when an amount is lost, doubled or beyond a device's capacity. */
  checkInvariants(): void {
    this.#ledger.checkInvariants();
  }

  /** Device name -> health; families without such knowledge are left out (spec/config-and-resources.md 6.7). */
  hardwareInfo(): Promise<Record<string, HardwareInfo>> {
    return this.#readings.hardwareInfo();
  }

  /** Device id -> how much of each CUDA device the agent's kernels have, decimal texts (RPC `scan_gpu_alloc_map`). */
  gpuAllocMap(agentId: AgentId): Record<string, string> {
    const amounts = new Map<string, Decimal>();
    for (const { granted } of this.#ledger.bookingsOf(agentId))
      for (const { name, deviceId, amount } of amountsOf(granted))
        if (name === 'cuda') amounts.set(deviceId, (amounts.get(deviceId) ?? ZERO).plus(amount));
    return Object.fromEntries([...amounts].map(([id, amount]) => [id, positionalText(amount)]));
  }

  /** What all plugins measure on the whole node, for `measuresOf`. */
  measure(): Promise<readonly PluginMeasures[]> {
    return this.#readings.measures();
  }

  /** What of the measures is the agent's (spec 3.4). */
  measuresOf(agentId: AgentId, measured: readonly PluginMeasures[]): readonly DeviceMeasure[] {
    const agent = this.forAgent(agentId);
    return measured.flatMap(({ plugin, measures }) => {
      const factor = agent.scalingFactor(plugin.slots()[0]?.slotName ?? '');
      return measures.map((measure) => scaled(measure, factor));
    });
  }

  /** Measures of all plugins, as far as they are the agent's (spec 3.4). A plugin that fails has none. */
  async measures(agentId: AgentId): Promise<readonly DeviceMeasure[]> {
    return this.measuresOf(agentId, await this.measure());
  }

  /** For the manager's catalogue of slots: what each is called and how it is shown. */
  slotDescriptions(): readonly SlotDescription[] {
    return [...this.#plugins.values()].flatMap((plugin) => plugin.slots());
  }

  /** Device name -> version and facts, for the heartbeat. */
  computePlugins(): Record<string, Readonly<Record<string, string>>> {
    return Object.fromEntries(
      [...this.#plugins].map(([name, plugin]) => {
        const { version, facts } = plugin.describe?.() ?? { version: '1', facts: {} };
        return [name, { version, ...facts }];
      }),
    );
  }

  /**
   * Looks for devices that came or went, and deals out again if any did. Kernels keep what they have. Answers whether
   * anything changed; failures are logged and leave everything as it was.
   */
  rescan(): Promise<boolean> {
    this.#rescan ??= this.#lookAgain().finally(() => {
      this.#rescan = undefined;
    });
    return this.#rescan;
  }

  /**
   * What is kept from kernels from now on; what they have stays theirs. In manual mode the agents' own amounts say it all.
   * @throws InvalidResourceConfig when the devices cannot be shared so: then everything stays as it was.
   */
  reserve(reserved: ReservedAmounts): void {
    this.#ledger.setSystem(systemReserve(reserved));
  }

  /** Keys of the plugins that take part. */
  get pluginKeys(): readonly string[] {
    return [...this.#plugins.keys()];
  }

  /**
   * Hands new settings to a plugin and deals out what it finds with them. Names the changed settings that take effect
   * only with the next start.
   * @throws for settings that the plugin refuses; it goes on with those it had.
   */
  async updateSettings(
    key: string,
    before: Readonly<Record<string, string>>,
    settings: Readonly<Record<string, string>>,
  ): Promise<readonly string[]> {
    const plugin = this.#plugins.get(key);
    if (!plugin?.updateSettings)
      return [...new Set([...Object.keys(before), ...Object.keys(settings)])].filter(
        (name) => before[name] !== settings[name],
      );
    const waiting = await plugin.updateSettings(settings);
    // One that is under way may have asked the plugin before.
    await this.#rescan;
    await this.rescan();
    return waiting;
  }

  /** Closes the plugins. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      for (const plugin of this.#plugins.values())
        try {
          await plugin.close?.();
        } catch (error) {
          this.#logger.warn('closing a device plugin failed', {
            plugin: plugin.key,
            error: messageOf(error),
          });
        }
    })();
    return this.#closing;
  }

  async #lookAgain(): Promise<boolean> {
    const found = await this.#readings.devices(this.#found);
    const looks = fingerprint(found);
    if (looks === fingerprint(this.#found)) this.#refused = null;
    if (looks === fingerprint(this.#found) || looks === this.#refused) return false;
    try {
      this.#ledger.setDevices(found);
    } catch (error) {
      this.#refused = looks;
      this.#logger.error('devices changed, but cannot be shared as configured', { error: messageOf(error) });
      return false;
    }
    this.#refused = null;
    this.#found = found;
    const counts = Object.fromEntries([...found].map(([name, devices]) => [name, devices.length]));
    this.#logger.info('devices changed', { counts });
    return true;
  }
}

const fingerprint = (found: ReadonlyMap<string, readonly Device[]>): string =>
  JSON.stringify([...found], (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));

function systemReserve({ cpu, memBytes, diskBytes }: ReservedAmounts): SlotAmounts {
  return new Map([
    ['cpu', new Decimal(cpu)],
    ['mem', new Decimal(String(memBytes))],
    ['disk', new Decimal(String(diskBytes ?? 0))],
  ]);
}

function manualSlots(agentId: string, { slots }: ManualShare): SlotAmounts {
  try {
    const amounts = ResourceSlot.of(slots);
    const bad = amounts.entries().find(([, amount]) => !amount.isFinite() || amount.isNegative());
    if (bad) throw new ValueError(`${bad[0]} must be a number, zero or more`);
    return new Map(amounts.entries());
  } catch (error) {
    throw new InvalidResourceConfig(`manual allocation of agent ${agentId}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function scaled(measure: DeviceMeasure, factor: string): DeviceMeasure {
  if (factor === '1') return measure;
  const by = (text: string): string => positionalText(parseDecimal(text).times(factor));
  const both = (value: { value: string; capacity: string | null }) => ({
    value: by(value.value),
    capacity: value.capacity === null ? null : by(value.capacity),
  });
  return {
    ...measure,
    ...both(measure),
    perDevice: Object.fromEntries(Object.entries(measure.perDevice).map(([id, value]) => [id, both(value)])),
  };
}
