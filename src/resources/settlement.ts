import { AffinityMap } from './alloc-map/affinity-map.js';
import type { AllocMap } from './alloc-map/alloc-map.js';
import { createAllocMap } from './alloc-map/create.js';
import type { DeviceSlot } from './alloc-map/device-slots.js';
import { amountsOf, type Booking } from './allocation.js';
import { DeviceUses } from './device-uses.js';
import type { Device, DevicePlugin } from './devices/device-plugin.js';
import { type ManualAllocation, withDeviceIds } from './partition/manual-devices.js';
import {
  type AgentShare,
  type AllocationMode,
  partition,
  type PartitionInput,
  type SlotAmounts,
} from './partition/modes.js';
import { dealOut, type Holding, type OwnerClaim } from './partition/ownership.js';
import { Decimal, parseDecimal, sum, ZERO } from './quantity/decimal.js';
import type { SlotType } from './quantity/slot-name.js';

export interface DeviceLedgerOptions {
  readonly plugins: ReadonlyMap<string, DevicePlugin>;
  readonly agents: readonly { readonly id: string; readonly manual?: ManualAllocation | undefined }[];
  readonly mode: AllocationMode;
  readonly system: SlotAmounts;
  readonly memoryAlignBytes: bigint;
}

/** One physical device as the ledger keeps it. */
export interface LedgerDevice {
  readonly device: Device;
  readonly amount: Decimal;
  /** No longer found on the machine, kept while kernels hold it. */
  readonly isGone: boolean;
}

export type DevicesOfFamily = ReadonlyMap<string, LedgerDevice>;

/** Who may draw on what: follows from the devices, the bookings and the settlement before. */
export interface Settlement {
  /** Device name -> device id -> device. */
  readonly devices: ReadonlyMap<string, DevicesOfFamily>;
  /** By agent id. */
  readonly shares: ReadonlyMap<string, AgentShare>;
  /** What the shares were made from. */
  readonly input: PartitionInput;
  /** Slot -> owner -> what it has. */
  readonly owned: ReadonlyMap<string, ReadonlyMap<string, Holding>>;
  /** Owner -> device name -> alloc map, with all bookings. */
  readonly maps: ReadonlyMap<string, ReadonlyMap<string, AllocMap>>;
  readonly affinityMap: AffinityMap;
  /** Has every owner exactly its target? If not, each release may bring it nearer. */
  readonly isComplete: boolean;
}

/** In shared mode all agents are one owner. */
export const EVERYBODY = '*';

export const ownerOf = ({ mode }: DeviceLedgerOptions, agentId: string): string =>
  mode === 'shared' ? EVERYBODY : agentId;

export const slotTypesOf = ({ plugins }: DeviceLedgerOptions): ReadonlyMap<string, SlotType> =>
  new Map(
    [...plugins.values()].flatMap((plugin) =>
      plugin.slots().map(({ slotName, slotType }): [string, SlotType] => [slotName, slotType]),
    ),
  );

/** Counts once what all bookings use. */
export function usesOf(options: DeviceLedgerOptions, bookings: Iterable<Booking>): DeviceUses {
  const uses = new DeviceUses();
  for (const booking of bookings) uses.add(ownerOf(options, booking.agentId), booking);
  return uses;
}

/**
 * Deals the devices that are found now out to their owners and books everything anew. Changes nothing it is given.
 * @throws InvalidResourceConfig when they cannot be shared as configured.
 */
export function settle(
  options: DeviceLedgerOptions,
  found: ReadonlyMap<string, readonly Device[]>,
  bookings: readonly Booking[],
  before: Settlement | undefined,
): Settlement {
  const uses = usesOf(options, bookings);
  const devices = new Map(
    [...options.plugins.keys()].map((name) => {
      const known = before?.devices.get(name);
      return [name, familyOf(name, found.get(name) ?? [], bookings, uses, known)];
    }),
  );
  const input = partitionInput(options, devices);
  const agentShares = partition(input);
  const shares = new Map(
    options.agents.flatMap(({ id }, index): [string, AgentShare][] => {
      const share = agentShares[index];
      return share ? [[id, share]] : [];
    }),
  );
  const owned = new Map<string, ReadonlyMap<string, Holding>>();
  let isComplete = true;
  for (const slotName of input.totals.keys()) {
    const claims = claimsOn(slotName, options, devices, shares, uses, before);
    const dealt = dealOut(slotName, amountsOfSlot(devices, slotName), claims);
    owned.set(slotName, dealt);
    isComplete &&= claims.every(({ id, target }) => sum(dealt.get(id)?.values() ?? []).equals(target));
  }
  const maps = createMaps(options, devices, owned);
  for (const { agentId, granted } of bookings)
    for (const [name, slots] of granted) maps.get(ownerOf(options, agentId))?.get(name)?.apply(slots);
  return { devices, shares, input, owned, maps, affinityMap: affinityMapOf(devices), isComplete };
}

/** Devices found, and after them those that are gone but held. Never less than what is booked. */
function familyOf(
  name: string,
  found: readonly Device[],
  bookings: readonly Booking[],
  uses: DeviceUses,
  known: DevicesOfFamily | undefined,
): DevicesOfFamily {
  const family = new Map<string, LedgerDevice>();
  for (const device of found) {
    const amount = Decimal.max(parseDecimal(device.amount), uses.of(name, device.deviceId));
    family.set(device.deviceId, { device, amount, isGone: false });
  }
  for (const { granted } of bookings)
    for (const booked of amountsOf(granted)) {
      const { slotName, deviceId } = booked;
      if (booked.name !== name || family.has(deviceId)) continue;
      const device = known?.get(deviceId)?.device ?? goneDevice(slotName, deviceId);
      family.set(deviceId, { device, amount: uses.of(name, deviceId), isGone: true });
    }
  return family;
}

function partitionInput(
  options: DeviceLedgerOptions,
  devices: ReadonlyMap<string, DevicesOfFamily>,
): PartitionInput {
  const { agents, mode, system, memoryAlignBytes, plugins } = options;
  const totals = new Map<string, { total: Decimal; kind: 'discrete' | 'fraction' }>();
  for (const [name, plugin] of plugins) {
    const { kind } = plugin.allocation;
    for (const { slotName } of plugin.slots()) totals.set(slotName, { total: ZERO, kind });
    for (const { device, amount } of devices.get(name)?.values() ?? []) {
      const total = totals.get(device.slotName)?.total ?? ZERO;
      totals.set(device.slotName, { total: total.plus(amount), kind });
    }
  }
  const slotNames = [...totals.keys()];
  return {
    mode,
    totals,
    system,
    memoryAlignBytes,
    agents: agents.map(({ id, manual }) => ({
      id,
      ...(manual ? { manual: withDeviceIds(id, manual, devices, slotNames) } : {}),
    })),
  };
}

const ownersOf = ({ mode, agents }: DeviceLedgerOptions): readonly string[] =>
  mode === 'shared' ? [EVERYBODY] : agents.map(({ id }) => id);

function claimsOn(
  slotName: string,
  options: DeviceLedgerOptions,
  devices: ReadonlyMap<string, DevicesOfFamily>,
  shares: ReadonlyMap<string, AgentShare>,
  uses: DeviceUses,
  before: Settlement | undefined,
): readonly OwnerClaim[] {
  const [name = '', family] =
    [...devices].find(([, candidates]) =>
      [...candidates.values()].some(({ device }) => device.slotName === slotName),
    ) ?? [];
  return ownersOf(options).map((id) => {
    const share = id === EVERYBODY ? [...shares.values()][0] : shares.get(id);
    const manual = options.agents.find((agent) => agent.id === id)?.manual;
    const used = new Map<string, Decimal>();
    for (const [deviceId, { device }] of family ?? []) {
      const amount = uses.of(name, deviceId, id);
      if (device.slotName === slotName && amount.greaterThan(ZERO)) used.set(deviceId, amount);
    }
    return {
      id,
      target: share?.reported.get(slotName) ?? ZERO,
      deviceIds: manual?.deviceIds?.[name],
      used,
      current: before?.owned.get(slotName)?.get(id) ?? new Map<string, Decimal>(),
    };
  });
}

function createMaps(
  options: DeviceLedgerOptions,
  devices: ReadonlyMap<string, DevicesOfFamily>,
  owned: Settlement['owned'],
): Settlement['maps'] {
  const types = slotTypesOf(options);
  const mapOf = (owner: string, name: string, plugin: DevicePlugin): AllocMap => {
    const slots = new Map<string, DeviceSlot>();
    for (const [deviceId, { device }] of devices.get(name) ?? []) {
      const { slotName } = device;
      const amount = owned.get(slotName)?.get(owner)?.get(deviceId);
      if (amount) slots.set(deviceId, { slotName, slotType: types.get(slotName) ?? 'count', amount });
    }
    return createAllocMap(plugin.allocation, slots, plugin.exclusiveSlots);
  };
  return new Map(
    ownersOf(options).map((owner) => [
      owner,
      new Map([...options.plugins].map(([name, plugin]) => [name, mapOf(owner, name, plugin)])),
    ]),
  );
}

const amountsOfSlot = (
  devices: ReadonlyMap<string, DevicesOfFamily>,
  slotName: string,
): ReadonlyMap<string, Decimal> =>
  new Map(
    [...devices.values()].flatMap((family) =>
      [...family].flatMap(([id, { device, amount }]): [string, Decimal][] =>
        device.slotName === slotName ? [[id, amount]] : [],
      ),
    ),
  );

const affinityMapOf = (devices: ReadonlyMap<string, DevicesOfFamily>): AffinityMap =>
  new AffinityMap(
    [...devices].flatMap(([deviceName, family]) =>
      [...family.values()].map(({ device: { deviceId, numaNode } }) => ({ deviceName, deviceId, numaNode })),
    ),
  );

/** Stands for a device that a journalled kernel holds and that nobody has seen since the start. */
const goneDevice = (slotName: string, deviceId: string): Device => ({
  deviceId,
  slotName,
  amount: '0',
  modelName: '',
  hardwareLocation: '',
  memoryBytes: 0n,
  processingUnits: 0,
  numaNode: null,
});
