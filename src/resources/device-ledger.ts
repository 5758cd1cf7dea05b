import { InvariantError } from '../core/errors.js';
import type { KernelId } from '../core/ids.js';
import { AffinityMap } from './alloc-map/affinity-map.js';
import type { AllocMap } from './alloc-map/alloc-map.js';
import { createAllocMap } from './alloc-map/create.js';
import type { DeviceSlot } from './alloc-map/device-slots.js';
import { amountsOf, type Booking } from './allocation.js';
import { amountsPerDevice, DeviceUses } from './device-uses.js';
import { requireDeviceIds, requirePhysicallyPossible, withDeviceIds } from './partition/manual-devices.js';
import type { ManualAllocation } from './partition/manual-devices.js';
import {
  type AgentShare,
  type AllocationMode,
  partition,
  type PartitionInput,
  refuseOverAllocation,
  type SlotAmounts,
} from './partition/modes.js';
import { dealOut, type Holding } from './partition/ownership.js';
import type { Device, DevicePlugin } from './devices/device-plugin.js';
import { AllocationConflict } from './errors.js';
import { Decimal, parseDecimal, positionalText, sum, ZERO } from './quantity/decimal.js';
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

type DevicesOfFamily = ReadonlyMap<string, LedgerDevice>;

/** In shared mode all agents are one owner. */
const EVERYBODY = '*';

/**
 * The one place of the process that knows which kernel has which part of which device. Devices and bookings are its
 * state; who may draw on what follows from them and is dealt out anew whenever either changes from outside. All
 * methods are synchronous and all-or-nothing, so nothing can come between a decision and its booking.
 */
export class DeviceLedger {
  readonly #options: DeviceLedgerOptions;
  readonly #bookings = new Map<KernelId, Booking>();
  #devices: ReadonlyMap<string, DevicesOfFamily> = new Map();
  #shares: ReadonlyMap<string, AgentShare> = new Map();
  /** Slot -> owner -> what it has. */
  #owned: ReadonlyMap<string, ReadonlyMap<string, Holding>> = new Map();
  /** Owner -> device name -> alloc map. */
  #maps: ReadonlyMap<string, ReadonlyMap<string, AllocMap>> = new Map();
  #affinityMap = new AffinityMap([]);
  /** Does every owner have exactly its target? If not, each release may bring it nearer. */
  #isSettled = true;

  /** @throws InvalidResourceConfig, ResourceOverAllocated when the devices cannot be shared as configured. */
  constructor(options: DeviceLedgerOptions, found: ReadonlyMap<string, readonly Device[]>) {
    this.#options = options;
    if (options.mode === 'manual') requireDeviceIds(options.agents, found);
    this.setDevices(found);
    if (options.mode === 'manual') {
      const totals = this.#totals();
      refuseOverAllocation(this.#partitionInput(totals, this.#devices), [...this.#shares.values()]);
      requirePhysicallyPossible(totals, this.#shares);
    }
  }

  get affinityMap(): AffinityMap {
    return this.#affinityMap;
  }

  get slotTypes(): ReadonlyMap<string, SlotType> {
    return new Map(
      [...this.#options.plugins.values()].flatMap((plugin) =>
        plugin.slots().map(({ slotName, slotType }): [string, SlotType] => [slotName, slotType]),
      ),
    );
  }

  devicesOf(name: string): DevicesOfFamily {
    return this.#devices.get(name) ?? new Map();
  }

  /** The alloc maps an agent draws on; shared ones in shared mode. */
  mapsOf(agentId: string): ReadonlyMap<string, AllocMap> {
    return this.#maps.get(this.#ownerOf(agentId)) ?? new Map();
  }

  shareOf(agentId: string): AgentShare {
    const share = this.#shares.get(agentId);
    if (!share) throw new InvariantError(`Agent ID ${agentId} not in computers`);
    return share;
  }

  /** What the manager is told: never more than the agent can really draw on. */
  reportedSlots(agentId: string): SlotAmounts {
    const share = this.shareOf(agentId);
    return new Map(
      [...this.slotTypes.keys()].map((slot) => {
        const capacity = this.capacityOf(agentId, slot);
        const reported = Decimal.min(share.reported.get(slot) ?? ZERO, capacity);
        return [slot, Decimal.max(ZERO, reported)];
      }),
    );
  }

  /** Everything of the slot that the agent can draw on, booked or free. */
  capacityOf(agentId: string, slotName: string): Decimal {
    return sum([...this.mapsOf(agentId).values()].map((map) => map.total(slotName)));
  }

  freeOf(agentId: string, slotName: string): Decimal {
    return sum([...this.mapsOf(agentId).values()].map((map) => map.totalFree(slotName)));
  }

  totalOf(slotName: string): Decimal {
    return this.#totals().get(slotName)?.total ?? ZERO;
  }

  bookingOf(kernelId: KernelId): Booking | undefined {
    return this.#bookings.get(kernelId);
  }

  bookingsOf(agentId?: string): readonly Booking[] {
    return [...this.#bookings.values()].filter(
      (booking) => agentId === undefined || booking.agentId === agentId,
    );
  }

  /** Device name -> device id -> kernel id -> amount, of all agents that draw on the same alloc maps as this one. */
  holdersOf(agentId: string): ReadonlyMap<string, ReadonlyMap<string, Readonly<Record<string, string>>>> {
    const owner = this.#ownerOf(agentId);
    const holders = new Map<string, Map<string, Record<string, string>>>();
    for (const booking of this.#bookings.values()) {
      if (this.#ownerOf(booking.agentId) !== owner) continue;
      for (const [name, perDevice] of amountsPerDevice(booking))
        for (const [deviceId, amount] of perDevice) {
          const family = holders.get(name) ?? new Map<string, Record<string, string>>();
          family.set(deviceId, { ...family.get(deviceId), [booking.kernelId]: positionalText(amount) });
          holders.set(name, family);
        }
    }
    return holders;
  }

  /** @throws AllocationConflict when the kernel has resources already. */
  refuseSecondBooking(kernelId: KernelId): void {
    const booking = this.#bookings.get(kernelId);
    if (booking)
      throw new AllocationConflict(`kernel ${kernelId} already has resources on agent ${booking.agentId}`, {
        details: { kernelId, agentId: booking.agentId },
      });
  }

  /** Records what the agent's alloc maps have just granted. */
  record(booking: Booking): void {
    this.refuseSecondBooking(booking.kernelId);
    this.#bookings.set(booking.kernelId, booking);
  }

  /**
   * Books what a kernel has had before a restart, wherever it is now: the devices follow the kernel.
   * @throws AllocationConflict naming the other kernels when a device cannot hold them all.
   */
  restore(booking: Booking): void {
    this.refuseSecondBooking(booking.kernelId);
    for (const { name, deviceId, amount } of amountsOf(booking.granted))
      if (amount.isNegative() || !amount.isFinite())
        throw new AllocationConflict(`kernel ${booking.kernelId}: no amount of ${name} ${deviceId}`);
    const uses = this.#uses();
    for (const [name, perDevice] of amountsPerDevice(booking))
      for (const [deviceId, amount] of perDevice) {
        const known = this.devicesOf(name).get(deviceId);
        if (known && !known.isGone && uses.of(name, deviceId).plus(amount).greaterThan(known.amount))
          throw this.#clash(booking, name, deviceId);
      }
    this.#bookings.set(booking.kernelId, booking);
    try {
      if (!this.#applyIfOwned(booking)) this.#settle(this.#present());
    } catch (error) {
      this.#bookings.delete(booking.kernelId);
      throw error;
    }
  }

  /** Gives back everything the kernel has. Idempotent. */
  release(kernelId: KernelId): void {
    const booking = this.#bookings.get(kernelId);
    if (!booking) return;
    this.#bookings.delete(kernelId);
    const maps = this.mapsOf(booking.agentId);
    for (const [name, granted] of booking.granted) maps.get(name)?.free(granted);
    const heldGone = [...amountsOf(booking.granted)].some(
      ({ name, deviceId }) => this.devicesOf(name).get(deviceId)?.isGone === true,
    );
    if (heldGone || !this.#isSettled) this.#settle(this.#present());
  }

  /** What is found on the machine now. Bookings stay; devices in use that are gone stay until they are released. */
  setDevices(found: ReadonlyMap<string, readonly Device[]>): void {
    this.#settle(found);
  }

  /**
   * @throws InvariantError when an amount is lost, doubled or beyond a device's capacity; a defect of this program.
   */
  checkInvariants(): void {
    const uses = this.#uses();
    for (const [name, devices] of this.#devices)
      for (const [deviceId, { amount }] of devices) {
        const owners = [...this.#maps].map(([owner, maps]) => ({ owner, map: maps.get(name) }));
        const dealt = sum(owners.map(({ map }) => map?.deviceSlots.get(deviceId)?.amount ?? ZERO));
        const what = `device ${deviceId} of ${name}`;
        if (dealt.greaterThan(amount))
          throw new InvariantError(
            `${what}: owners have ${positionalText(dealt)} of ${positionalText(amount)}`,
          );
        for (const { owner, map } of owners) {
          const allocated = map?.allocatedOf(deviceId) ?? ZERO;
          const booked = uses.of(name, deviceId, owner);
          const free = map?.freeOf(deviceId) ?? ZERO;
          if (!allocated.equals(booked))
            throw new InvariantError(
              `${what}, owner ${owner}: ${positionalText(allocated)} allocated, ${positionalText(booked)} booked`,
            );
          if (allocated.isNegative() || free.isNegative())
            throw new InvariantError(`${what}, owner ${owner}: beyond its capacity`);
        }
      }
    for (const booking of this.#bookings.values()) this.#requireKnown(booking);
  }

  #requireKnown(booking: Booking): void {
    for (const { name, deviceId } of amountsOf(booking.granted))
      if (this.#options.plugins.has(name) && !this.devicesOf(name).has(deviceId))
        throw new InvariantError(`kernel ${booking.kernelId} holds ${name} ${deviceId}, which is not there`);
  }

  #ownerOf(agentId: string): string {
    return this.#options.mode === 'shared' ? EVERYBODY : agentId;
  }

  /** Computes everything before it changes anything. */
  #settle(found: ReadonlyMap<string, readonly Device[]>): void {
    const uses = this.#uses();
    const devices = new Map(
      [...this.#options.plugins.keys()].map((name) => [
        name,
        this.#family(name, found.get(name) ?? [], uses),
      ]),
    );
    const totals = this.#totals(devices);
    const shares = this.#partition(totals, devices);
    const owned = new Map<string, ReadonlyMap<string, Holding>>();
    let isSettled = true;
    for (const slotName of totals.keys()) {
      const claims = this.#claims(slotName, devices, shares, uses);
      const dealt = dealOut(slotName, amountsOfSlot(devices, slotName), claims);
      owned.set(slotName, dealt);
      isSettled &&= claims.every(({ id, target }) => sum(dealt.get(id)?.values() ?? []).equals(target));
    }
    const maps = this.#createMaps(devices, owned);
    for (const booking of this.#bookings.values()) {
      const ownMaps = maps.get(this.#ownerOf(booking.agentId));
      for (const [name, granted] of booking.granted) ownMaps?.get(name)?.apply(granted);
    }
    this.#devices = devices;
    this.#shares = shares;
    this.#owned = owned;
    this.#maps = maps;
    this.#isSettled = isSettled;
    this.#affinityMap = new AffinityMap(
      [...devices].flatMap(([deviceName, family]) =>
        [...family.values()].map(({ device }) => ({
          deviceName,
          deviceId: device.deviceId,
          numaNode: device.numaNode,
        })),
      ),
    );
  }

  /** Devices found, and after them those that are gone but held. Never less than what is booked. */
  #family(name: string, found: readonly Device[], uses: DeviceUses): DevicesOfFamily {
    const family = new Map<string, LedgerDevice>();
    for (const device of found) {
      const used = uses.of(name, device.deviceId);
      const amount = Decimal.max(parseDecimal(device.amount), used);
      family.set(device.deviceId, { device, amount, isGone: false });
    }
    for (const booking of this.#bookings.values())
      for (const { name: family_, slotName, deviceId } of amountsOf(booking.granted)) {
        if (family_ !== name || family.has(deviceId)) continue;
        const amount = uses.of(name, deviceId);
        const device = this.devicesOf(name).get(deviceId)?.device ?? goneDevice(slotName, deviceId);
        family.set(deviceId, { device, amount, isGone: true });
      }
    return family;
  }

  #present(): ReadonlyMap<string, readonly Device[]> {
    return new Map(
      [...this.#devices].map(([name, family]) => [
        name,
        [...family.values()].flatMap(({ device, isGone }) => (isGone ? [] : [device])),
      ]),
    );
  }

  #totals(devices = this.#devices): Map<string, { total: Decimal; kind: 'discrete' | 'fraction' }> {
    const totals = new Map<string, { total: Decimal; kind: 'discrete' | 'fraction' }>();
    for (const [name, plugin] of this.#options.plugins) {
      const { kind } = plugin.allocation;
      for (const { slotName } of plugin.slots()) totals.set(slotName, { total: ZERO, kind });
      for (const { device, amount } of devices.get(name)?.values() ?? []) {
        const total = totals.get(device.slotName)?.total ?? ZERO;
        totals.set(device.slotName, { total: total.plus(amount), kind });
      }
    }
    return totals;
  }

  #partition(
    totals: ReadonlyMap<string, { total: Decimal; kind: 'discrete' | 'fraction' }>,
    devices: ReadonlyMap<string, DevicesOfFamily>,
  ): ReadonlyMap<string, AgentShare> {
    const { agents } = this.#options;
    const shares = partition(this.#partitionInput(totals, devices));
    return new Map(agents.map(({ id }, index) => [id, shares[index] as AgentShare]));
  }

  #partitionInput(
    totals: PartitionInput['totals'],
    devices: ReadonlyMap<string, DevicesOfFamily>,
  ): PartitionInput {
    const { agents, mode, system, memoryAlignBytes } = this.#options;
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

  #claims(
    slotName: string,
    devices: ReadonlyMap<string, DevicesOfFamily>,
    shares: ReadonlyMap<string, AgentShare>,
    uses: DeviceUses,
  ) {
    const owners = this.#options.mode === 'shared' ? [EVERYBODY] : this.#options.agents.map(({ id }) => id);
    const name = [...devices].find(([, family]) =>
      [...family.values()].some(({ device }) => device.slotName === slotName),
    )?.[0];
    return owners.map((id) => {
      const share = id === EVERYBODY ? [...shares.values()][0] : shares.get(id);
      const manual = this.#options.agents.find((agent) => agent.id === id)?.manual;
      const family = name === undefined ? new Map<string, LedgerDevice>() : devices.get(name);
      const used = new Map<string, Decimal>();
      for (const [deviceId, { device }] of family ?? []) {
        const amount = uses.of(name ?? '', deviceId, id);
        if (device.slotName === slotName && amount.greaterThan(ZERO)) used.set(deviceId, amount);
      }
      return {
        id,
        target: share?.reported.get(slotName) ?? ZERO,
        deviceIds: name === undefined ? undefined : manual?.deviceIds?.[name],
        used,
        current: this.#owned.get(slotName)?.get(id) ?? new Map<string, Decimal>(),
      };
    });
  }

  #createMaps(
    devices: ReadonlyMap<string, DevicesOfFamily>,
    owned: ReadonlyMap<string, ReadonlyMap<string, Holding>>,
  ): ReadonlyMap<string, ReadonlyMap<string, AllocMap>> {
    const { mode, agents, plugins } = this.#options;
    const owners = mode === 'shared' ? [EVERYBODY] : agents.map(({ id }) => id);
    const types = this.slotTypes;
    return new Map(
      owners.map((owner) => [
        owner,
        new Map(
          [...plugins].map(([name, plugin]) => {
            const slots = new Map<string, DeviceSlot>();
            for (const [deviceId, { device }] of devices.get(name) ?? []) {
              const amount = owned.get(device.slotName)?.get(owner)?.get(deviceId);
              const slotType = types.get(device.slotName) ?? 'count';
              if (amount) slots.set(deviceId, { slotName: device.slotName, slotType, amount });
            }
            return [name, createAllocMap(plugin.allocation, slots, plugin.exclusiveSlots)];
          }),
        ),
      ]),
    );
  }

  /** The usual case after a restart: everything is where it was, and only needs to be booked. */
  #applyIfOwned(booking: Booking): boolean {
    const maps = this.mapsOf(booking.agentId);
    for (const [name, perDevice] of amountsPerDevice(booking))
      for (const [deviceId, amount] of perDevice)
        if (maps.get(name)?.freeOf(deviceId).lessThan(amount) ?? this.#options.plugins.has(name))
          return false;
    for (const [name, granted] of booking.granted) maps.get(name)?.apply(granted);
    return true;
  }

  /** Counts once what all bookings use. */
  #uses(): DeviceUses {
    const uses = new DeviceUses();
    for (const booking of this.#bookings.values()) uses.add(this.#ownerOf(booking.agentId), booking);
    return uses;
  }

  #clash(booking: Booking, name: string, deviceId: string): AllocationConflict {
    const holders = [...this.#bookings.values()].filter((other) =>
      amountsPerDevice(other).get(name)?.has(deviceId),
    );
    const texts = holders.map(({ kernelId, agentId }) => `kernel ${kernelId} of agent ${agentId}`);
    return new AllocationConflict(
      `${name} ${deviceId} cannot be booked for kernel ${booking.kernelId} of agent ${booking.agentId}: ` +
        (texts.length > 0 ? `${texts.join(' and ')} already has it` : 'it has less than that'),
      { details: { kernelId: booking.kernelId, deviceName: name, deviceId, holders: texts } },
    );
  }
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
