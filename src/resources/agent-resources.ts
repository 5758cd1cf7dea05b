import type { AgentId, KernelId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { acceleratorEnvironment } from './accelerator-environment.js';
import { type AgentUsage, agentUsage } from './agent-usage.js';
import type { AffinityPolicy } from './alloc-map/affinity-map.js';
import { allocate, inOrder } from './alloc-map/allocate.js';
import {
  type Allocation,
  type AllocationRequest,
  allocationTexts,
  amountsOf,
  parseAllocationTexts,
} from './allocation.js';
import type { DeviceLedger } from './device-ledger.js';
import type {
  Device,
  DeviceAttachment,
  DeviceMount,
  DevicePlugin,
  DockerArguments,
  Granted,
} from './devices/device-plugin.js';
import { InsufficientResource, InvalidResourceArgument } from './errors.js';
import { type MountEntry, parseResourceText, writeResourceText } from './kernel-resource-spec.js';
import { type Decimal, positionalText, ZERO } from './quantity/decimal.js';
import type { ResourceSlot } from './quantity/resource-slot.js';
import { deviceNameOf, INTRINSIC_SLOTS, type SlotType } from './quantity/slot-name.js';
import { admitRequest } from './quantity/slot-request.js';

export interface AgentResourcesOptions {
  readonly agentId: AgentId;
  readonly ledger: DeviceLedger;
  readonly plugins: ReadonlyMap<string, DevicePlugin>;
  readonly allocationOrder: readonly string[];
  readonly affinityPolicy: AffinityPolicy;
  readonly logger: Logger;
}

/** What a kernel may use at most. */
export interface ResourceLimits {
  /** Ascending core ids. */
  readonly cpuCores: number[];
  readonly memoryBytes: number;
  /** Part of the memory; zero: the backend's default. */
  readonly shmBytes: number;
}

/** What a kernel's devices need of its container besides arguments; in the order of allocation, nothing twice. */
export interface DeviceNeeds {
  /** Device name -> file name -> content; a device without files has its directory all the same. */
  readonly files: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly mounts: readonly DeviceMount[];
  readonly hooks: readonly string[];
  readonly networks: readonly string[];
  readonly gids: readonly number[];
  readonly syscalls: readonly string[];
}

/**
 * One agent's part of the node. Nothing is handed out that a sibling has, in any mode; every method is synchronous, so
 * two creations cannot interleave.
 */
export class AgentResources {
  readonly agentId: AgentId;
  readonly #options: AgentResourcesOptions;

  constructor(options: AgentResourcesOptions) {
    this.agentId = options.agentId;
    this.#options = options;
  }

  /** What the agent reports to the manager: every declared slot, exact decimal texts (spec 3.3). */
  availableSlots(): Record<string, string> {
    return Object.fromEntries(
      [...this.#ledger.reportedSlots(this.agentId)].map(([slot, amount]) => [slot, positionalText(amount)]),
    );
  }

  slotTypes(): Record<string, SlotType> {
    return Object.fromEntries(this.#ledger.slotTypes);
  }

  /** By which measurements of the node are multiplied to become this agent's (spec 3.4). */
  scalingFactor(slotName: string): string {
    const factor = this.#ledger.shareOf(this.agentId).scaling.get(slotName);
    return factor === undefined ? '1' : positionalText(factor);
  }

  /**
   * Gives a kernel all it asks for, or nothing.
   * @throws InsufficientResource, FractionalResourceFragmented, InvalidResourceArgument, InvalidResourceCombination,
   * NotMultipleOfQuantum, UnsupportedResource naming what was asked and what is free; AllocationConflict when the
   * kernel has resources already.
   */
  allocate(kernelId: KernelId, request: AllocationRequest): Allocation {
    this.#ledger.refuseSecondBooking(kernelId);
    const slots = admitRequest(request, this.#ledger.slotTypes);
    const maps = this.#ledger.mapsOf(this.agentId);
    this.#refuseWithoutDevices(slots);
    const granted = allocate(maps, new Map(slots.entries()), {
      order: this.#options.allocationOrder,
      affinityMap: this.#ledger.affinityMap,
      policy: this.#options.affinityPolicy,
      allowFragmentation: request.allowFractionalFragmentation,
    });
    const allocation: Allocation = {
      slots: slots.toJson(),
      allocations: allocationTexts(granted),
      shmemBytes: request.shmemBytes === null ? null : String(request.shmemBytes),
    };
    this.#ledger.record({ agentId: this.agentId, kernelId, allocation, granted });
    return allocation;
  }

  /**
   * Books exactly what the journal says, for a kernel that has outlived the daemon. Devices that are gone by now are
   * kept for it; device families without a plugin are passed over.
   * @throws AllocationConflict naming both kernels when another one has the same; InvalidResourceArgument for texts
   * that are no numbers.
   */
  restore(kernelId: KernelId, allocation: Allocation): void {
    let granted: ReturnType<typeof parseAllocationTexts>;
    try {
      granted = parseAllocationTexts(allocation.allocations);
    } catch (error) {
      throw new InvalidResourceArgument(`kernel ${kernelId}: the journalled allocation cannot be read`, {
        cause: error,
      });
    }
    this.#ledger.restore({ agentId: this.agentId, kernelId, allocation, granted });
    const unknown = [...granted.keys()].filter((name) => !this.#options.plugins.has(name));
    if (unknown.length > 0)
      this.#options.logger.warn('restored kernel has devices without a plugin', {
        kernelId,
        deviceNames: unknown,
      });
  }

  /** Gives back what the kernel has. Idempotent, and does nothing for a sibling's kernel. */
  free(kernelId: KernelId): void {
    if (this.allocationOf(kernelId)) this.#ledger.release(kernelId);
  }

  allocationOf(kernelId: KernelId): Allocation | undefined {
    const booking = this.#ledger.bookingOf(kernelId);
    return booking?.agentId === this.agentId ? booking.allocation : undefined;
  }

  /** Variables of all device plugins, and those about the accelerator that images of the original expect. */
  environment(allocation: Allocation): Record<string, string> {
    const variables: Record<string, string> = {};
    for (const [name, plugin] of this.#options.plugins)
      Object.assign(variables, plugin.environment?.(this.#granted(name, allocation)));
    const accelerator = this.#deviceNames(allocation).find((name) => !INTRINSIC_SLOTS.includes(name));
    return {
      ...variables,
      ...acceleratorEnvironment(
        accelerator === undefined
          ? undefined
          : { deviceName: accelerator, devices: this.#attached(accelerator, allocation) },
      ),
    };
  }

  /** Device name -> devices as the manager is told (spec/rpc-functions.md 3.7.1). */
  attachedDevices(allocation: Allocation): Record<string, readonly DeviceAttachment[]> {
    return Object.fromEntries(
      this.#deviceNames(allocation).map((name) => [name, this.#attached(name, allocation)]),
    );
  }

  limits(allocation: Allocation): ResourceLimits {
    const cores = Object.values(allocation.allocations['cpu'] ?? {}).flatMap((perDevice) =>
      Object.keys(perDevice),
    );
    const memory = Object.values(allocation.allocations['mem'] ?? {}).flatMap((perDevice) =>
      Object.values(perDevice),
    );
    return {
      cpuCores: [...new Set(cores)].map(Number).sort((a, b) => a - b),
      memoryBytes: Number(memory.reduce((total, bytes) => total + BigInt(bytes), 0n)),
      shmBytes: Number(allocation.shmemBytes ?? 0),
    };
  }

  /** Fragment of Docker's `HostConfig`: core set, memory, device requests. */
  deviceArguments(allocation: Allocation): DockerArguments {
    let merged: DockerArguments = {};
    for (const [name, plugin] of this.#options.plugins)
      merged = mergeFragments(merged, plugin.dockerArguments?.(this.#granted(name, allocation)) ?? {});
    return merged;
  }

  /**
   * What the kernel's devices need besides, from the plugins of those it has. `directoryOf`: where the files of a
   * plugin are on this machine.
   */
  deviceNeeds(allocation: Allocation, directoryOf: (deviceName: string) => string): DeviceNeeds {
    const needs: DeviceNeeds = {
      files: {},
      mounts: [],
      hooks: [],
      networks: [],
      gids: [],
      syscalls: [],
    };
    return this.#deviceNames(allocation).reduce((sum, name) => {
      const plugin = this.#options.plugins.get(name);
      const granted = this.#granted(name, allocation);
      if (!plugin || granted.devices.length === 0) return sum;
      const { gids = [], syscalls = [] } = plugin.privileges?.(granted) ?? {};
      return {
        files: INTRINSIC_SLOTS.includes(name)
          ? sum.files
          : { ...sum.files, [name]: plugin.files?.(granted) ?? {} },
        mounts: [...sum.mounts, ...(plugin.mounts?.(granted, directoryOf(name)) ?? [])],
        hooks: union(sum.hooks, plugin.hooks?.(granted)),
        networks: union(sum.networks, plugin.networks?.(granted)),
        gids: union(sum.gids, gids),
        syscalls: union(sum.syscalls, syscalls),
      };
    }, needs);
  }

  /** The content of `resource.txt` (spec 4.4). */
  resourceText(allocation: Allocation, mounts: readonly MountEntry[]): string {
    const pluginData: Record<string, string> = {};
    for (const name of this.#deviceNames(allocation)) {
      const plugin = this.#options.plugins.get(name);
      Object.assign(pluginData, plugin?.resourceData?.(this.#granted(name, allocation)));
    }
    return writeResourceText(
      { slots: allocation.slots, allocations: allocation.allocations, scratchDiskSizeBytes: 0n, mounts },
      { slotTypes: this.#ledger.slotTypes, order: this.#options.allocationOrder, pluginData },
    );
  }

  /**
   * Back from that text to what the kernel has. The original rounds byte amounts of devices; where all of a slot is on
   * one device, the exact amount is that of the slot.
   * @throws KeyError for a missing line, ValueError for one that cannot be read.
   */
  readResourceText(text: string): {
    readonly allocation: Allocation;
    readonly mounts: readonly MountEntry[];
  } {
    const types = this.#ledger.slotTypes;
    const { slots, allocations, mounts } = parseResourceText(text, types);
    const exact = (slotName: string, perDevice: Readonly<Record<string, string>>) => {
      const [deviceId, ...others] = Object.keys(perDevice);
      const amount = slots[slotName];
      return types.get(slotName) !== 'bytes' || deviceId === undefined || others.length > 0 || !amount
        ? perDevice
        : { [deviceId]: amount };
    };
    return {
      mounts,
      allocation: {
        slots,
        shmemBytes: null,
        allocations: Object.fromEntries(
          Object.entries(allocations).map(([device, bySlot]) => [
            device,
            Object.fromEntries(
              Object.entries(bySlot).map(([slotName, perDevice]) => [slotName, exact(slotName, perDevice)]),
            ),
          ]),
        ),
      },
    };
  }

  /** Where everything is: for `splenium resources` and the status page. */
  usage(): AgentUsage {
    return agentUsage(this.#ledger, this.agentId);
  }

  get #ledger(): DeviceLedger {
    return this.#options.ledger;
  }

  /** A slot whose devices all belong to siblings, or that has none, has nothing to be near to. */
  #refuseWithoutDevices(slots: ResourceSlot): void {
    for (const [slotName, requested] of slots.entries()) {
      if (requested.isZero() || this.#ledger.capacityOf(this.agentId, slotName).greaterThan(0)) continue;
      throw new InsufficientResource(`agent ${this.agentId} has no device of this kind`, {
        slotName,
        requested,
        allocatable: ZERO,
        contextTag: deviceNameOf(slotName),
      });
    }
  }

  #deviceNames(allocation: Allocation): readonly string[] {
    return inOrder(Object.keys(allocation.allocations), this.#options.allocationOrder);
  }

  #attached(name: string, allocation: Allocation): readonly DeviceAttachment[] {
    const granted = this.#granted(name, allocation);
    const plugin = this.#options.plugins.get(name);
    if (plugin?.attachedDevices) return plugin.attachedDevices(granted);
    return granted.devices.map(({ device }) => ({
      deviceId: device.deviceId,
      modelName: device.modelName,
      data: {},
    }));
  }

  /** The kernel's devices of one family, each once, with its amount over all slots. */
  #granted(name: string, allocation: Allocation): Granted {
    const family = this.#ledger.devicesOf(name);
    const perDevice = new Map<string, Decimal>();
    for (const { deviceId, amount } of amountsOf(
      parseAllocationTexts({ [name]: allocation.allocations[name] ?? {} }),
    ))
      if (amount.greaterThan(ZERO)) perDevice.set(deviceId, (perDevice.get(deviceId) ?? ZERO).plus(amount));
    const devices = [...perDevice].flatMap(([deviceId, amount]): { device: Device; amount: string }[] => {
      const device = family.get(deviceId)?.device;
      return device ? [{ device, amount: positionalText(amount) }] : [];
    });
    const all = [...family.values()].flatMap(({ device, isGone }) => (isGone ? [] : [device]));
    const { shmemBytes } = allocation;
    return { devices, all, shmemBytes: shmemBytes == null ? null : BigInt(shmemBytes) };
  }
}

/** Lists are joined, tables merged, anything else replaced. */
function mergeFragments(base: DockerArguments, addition: DockerArguments): DockerArguments {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(addition)) {
    const before = merged[key];
    if (Array.isArray(before) && Array.isArray(value))
      merged[key] = [...(before as unknown[]), ...(value as unknown[])];
    else if (isTable(before) && isTable(value)) merged[key] = mergeFragments(before, value);
    else merged[key] = value;
  }
  return merged;
}

const union = <T>(before: readonly T[], more: readonly T[] = []): readonly T[] => [
  ...new Set([...before, ...more]),
];

const isTable = (value: unknown): value is DockerArguments =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
