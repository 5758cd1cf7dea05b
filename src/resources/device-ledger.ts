import { InvariantError } from '../core/errors.js';
import type { KernelId } from '../core/ids.js';
import type { AffinityMap } from './alloc-map/affinity-map.js';
import type { AllocMap } from './alloc-map/alloc-map.js';
import { amountsOf, type Booking } from './allocation.js';
import { amountsPerDevice } from './device-uses.js';
import type { Device } from './devices/device-plugin.js';
import { AllocationConflict } from './errors.js';
import { requireDeviceIds, requirePhysicallyPossible } from './partition/manual-devices.js';
import { type AgentShare, refuseOverAllocation, type SlotAmounts } from './partition/modes.js';
import { Decimal, positionalText, sum, ZERO } from './quantity/decimal.js';
import type { SlotType } from './quantity/slot-name.js';
import {
  type DeviceLedgerOptions,
  type DevicesOfFamily,
  ownerOf,
  settle,
  type Settlement,
  slotTypesOf,
  usesOf,
} from './settlement.js';

/**
 * The one place of the process that knows which kernel has which part of which device. Devices and bookings are its
 * state; who may draw on what follows from them and is dealt out anew whenever either changes from outside. All
 * methods are synchronous and all-or-nothing, so nothing can come between a decision and its booking.
 */
export class DeviceLedger {
  #options: DeviceLedgerOptions;
  readonly #bookings = new Map<KernelId, Booking>();
  #settlement: Settlement;

  /** @throws InvalidResourceConfig, ResourceOverAllocated when the devices cannot be shared as configured. */
  constructor(options: DeviceLedgerOptions, found: ReadonlyMap<string, readonly Device[]>) {
    this.#options = options;
    if (options.mode === 'manual') requireDeviceIds(options.agents, found);
    this.#settlement = settle(options, found, [], undefined);
    if (options.mode === 'manual') {
      const { input, shares } = this.#settlement;
      refuseOverAllocation(input, [...shares.values()]);
      requirePhysicallyPossible(input.totals, shares);
    }
  }

  get affinityMap(): AffinityMap {
    return this.#settlement.affinityMap;
  }

  get slotTypes(): ReadonlyMap<string, SlotType> {
    return slotTypesOf(this.#options);
  }

  devicesOf(name: string): DevicesOfFamily {
    return this.#settlement.devices.get(name) ?? new Map();
  }

  /** The alloc maps an agent draws on; shared ones in shared mode. */
  mapsOf(agentId: string): ReadonlyMap<string, AllocMap> {
    return this.#settlement.maps.get(this.#ownerOf(agentId)) ?? new Map();
  }

  shareOf(agentId: string): AgentShare {
    const share = this.#settlement.shares.get(agentId);
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
    return this.#settlement.input.totals.get(slotName)?.total ?? ZERO;
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
    const uses = usesOf(this.#options, this.#bookings.values());
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
    if (heldGone || !this.#settlement.isComplete) this.#settle(this.#present());
  }

  /** What is found on the machine now. Bookings stay; devices in use that are gone stay until they are released. */
  setDevices(found: ReadonlyMap<string, readonly Device[]>): void {
    this.#settle(found);
  }

  /**
   * What is kept from kernels from now on; what they have stays theirs.
   * @throws InvalidResourceConfig when the devices cannot be shared so: then everything stays as it was.
   */
  setSystem(system: SlotAmounts): void {
    const before = this.#options;
    this.#options = { ...before, system };
    try {
      this.#settle(this.#present());
    } catch (error) {
      this.#options = before;
      throw error;
    }
  }

  /**
   * @throws InvariantError when an amount is lost, doubled or beyond a device's capacity; a defect of this program.
   */
  checkInvariants(): void {
    const uses = usesOf(this.#options, this.#bookings.values());
    for (const [name, devices] of this.#settlement.devices)
      for (const [deviceId, { amount }] of devices) {
        const owners = [...this.#settlement.maps].map(([owner, maps]) => ({ owner, map: maps.get(name) }));
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
    return ownerOf(this.#options, agentId);
  }

  #settle(found: ReadonlyMap<string, readonly Device[]>): void {
    this.#settlement = settle(this.#options, found, [...this.#bookings.values()], this.#settlement);
  }

  #present(): ReadonlyMap<string, readonly Device[]> {
    return new Map(
      [...this.#settlement.devices].map(([name, family]) => [
        name,
        [...family.values()].flatMap(({ device, isGone }) => (isGone ? [] : [device])),
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
