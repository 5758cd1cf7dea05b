import { InvariantError } from '../../core/errors.js';
import { AllocationConflict, InvalidResourceArgument, NoSuitableDevices } from '../errors.js';
import { type Decimal, pythonText, sum, ZERO } from '../quantity/decimal.js';
import { deviceNameOf } from '../quantity/slot-name.js';
import type { AffinityDevice, AffinityHint } from './affinity-map.js';
import type { DeviceSlot, DeviceSlots, SlotAllocations } from './device-slots.js';
import { refuseExclusivePairs } from './exclusive-slots.js';

/** FILL uses up one device after the other, EVENLY spreads over all. */
export type AllocationStrategy = 'FILL' | 'EVENLY';

export interface AllocMapOptions {
  readonly deviceSlots: DeviceSlots;
  readonly strategy?: AllocationStrategy;
  /** Names or patterns of slots that exclude each other. */
  readonly exclusiveSlots?: ReadonlySet<string>;
}

export interface AllocateOptions {
  readonly hint?: AffinityHint | undefined;
  /** Goes into error texts. */
  readonly contextTag?: string | undefined;
  /** Fraction maps: devices with less free than this are left alone. */
  readonly minMemory?: Decimal | undefined;
  /** Fraction maps: may a request be spread over more devices than it needs? Default true. */
  readonly allowFragmentation?: boolean | undefined;
}

/** One device with what is free of it, in the order in which devices are to be taken. */
export interface Candidate {
  readonly deviceId: string;
  readonly slot: DeviceSlot;
  readonly free: Decimal;
}

/**
 * Who has how much of each device of one family (spec/config-and-resources.md 5.1, 5.2). Amounts never exceed a
 * device's capacity nor go below zero, whoever calls.
 */
export abstract class AllocMap {
  abstract readonly kind: 'discrete' | 'fraction';
  readonly deviceSlots: DeviceSlots;
  readonly strategy: AllocationStrategy;
  readonly #exclusiveSlots: ReadonlySet<string>;
  readonly #allocated = new Map<string, Decimal>();

  constructor(options: AllocMapOptions) {
    this.deviceSlots = options.deviceSlots;
    this.strategy = options.strategy ?? 'EVENLY';
    this.#exclusiveSlots = options.exclusiveSlots ?? new Set();
  }

  /**
   * Books the slots in the order given, all or none; amounts of zero and below are passed over.
   * @throws InsufficientResource and the other errors of `errors.ts`.
   */
  allocate(slots: ReadonlyMap<string, Decimal>, options: AllocateOptions = {}): SlotAllocations {
    const wanted = [...slots].filter(([, amount]) => amount.greaterThan(ZERO));
    refuseExclusivePairs(
      this.#exclusiveSlots,
      wanted.map(([slot]) => slot),
    );
    const before = new Map(this.#allocated);
    const granted = new Map<string, ReadonlyMap<string, Decimal>>();
    try {
      for (const [slot, amount] of wanted) {
        const grant = this.allocateSlot(slot, amount, options);
        this.apply(new Map([[slot, grant]]));
        granted.set(slot, grant);
      }
    } catch (error) {
      this.#restore(before);
      throw error;
    }
    return granted;
  }

  /** Decides on one slot without booking it. */
  protected abstract allocateSlot(
    slotName: string,
    amount: Decimal,
    options: AllocateOptions,
  ): ReadonlyMap<string, Decimal>;

  /** Adds an allocation made elsewhere, all or nothing. @throws AllocationConflict for what is not there. */
  apply(allocations: SlotAllocations): void {
    const changes = this.#changes(allocations);
    for (const [deviceId, amount] of changes) {
      const slot = this.deviceSlots.get(deviceId);
      const total = this.allocatedOf(deviceId).plus(amount);
      if (slot === undefined || total.greaterThan(slot.amount) || amount.isNegative())
        throw new AllocationConflict(
          slot === undefined
            ? `no such device: ${deviceId}`
            : `device ${deviceId} (${slot.slotName}) has ${pythonText(this.freeOf(deviceId))} free, ` +
                `but ${pythonText(amount)} is to be booked`,
          { details: { deviceId, amount: pythonText(amount) } },
        );
    }
    for (const [deviceId, amount] of changes)
      this.#allocated.set(deviceId, this.allocatedOf(deviceId).plus(amount));
  }

  /** Gives back an allocation, all or nothing. @throws InvariantError for more than is booked. */
  free(allocations: SlotAllocations): void {
    const changes = this.#changes(allocations);
    for (const [deviceId, amount] of changes)
      if (amount.greaterThan(this.allocatedOf(deviceId)))
        throw new InvariantError(
          `device ${deviceId}: ${pythonText(amount)} is to be freed of ${pythonText(this.allocatedOf(deviceId))}`,
        );
    for (const [deviceId, amount] of changes)
      this.#allocated.set(deviceId, this.allocatedOf(deviceId).minus(amount));
  }

  clear(): void {
    this.#allocated.clear();
  }

  allocatedOf(deviceId: string): Decimal {
    return this.#allocated.get(deviceId) ?? ZERO;
  }

  freeOf(deviceId: string): Decimal {
    return (this.deviceSlots.get(deviceId)?.amount ?? ZERO).minus(this.allocatedOf(deviceId));
  }

  /** Device id -> allocated amount of every device of the slot, zeros too. */
  allocations(slotName: string): ReadonlyMap<string, Decimal> {
    return new Map(this.#idsOf(slotName).map((id) => [id, this.allocatedOf(id)]));
  }

  get slotNames(): readonly string[] {
    return [...new Set([...this.deviceSlots.values()].map(({ slotName }) => slotName))];
  }

  total(slotName: string): Decimal {
    return sum(this.#idsOf(slotName).map((id) => this.deviceSlots.get(id)?.amount ?? ZERO));
  }

  totalFree(slotName: string): Decimal {
    return sum(this.#idsOf(slotName).map((id) => this.freeOf(id)));
  }

  /** Devices of the slot in the order in which they are to be taken. @throws NoSuitableDevices. */
  protected candidates(slotName: string, hint: AffinityHint | undefined): readonly Candidate[] {
    const ids = hint ? this.#idsNear(slotName, hint) : this.#byFree(this.#idsOf(slotName));
    return ids.flatMap((deviceId) => {
      const slot = this.deviceSlots.get(deviceId);
      return slot ? [{ deviceId, slot, free: this.freeOf(deviceId) }] : [];
    });
  }

  /** A slot of type `unique` stands for one partition. @throws InvalidResourceArgument. */
  protected refuseUnlessOneIfUnique(slotName: string, amount: Decimal): void {
    const unique = this.#idsOf(slotName).some((id) => this.deviceSlots.get(id)?.slotType === 'unique');
    if (unique && !amount.equals(1))
      throw new InvalidResourceArgument(`You may allocate only 1 for the unique-type slot ${slotName}`, {
        details: { slotName, requested: pythonText(amount) },
      });
  }

  /** The positive amounts in registration order. */
  protected inRegistrationOrder(amounts: ReadonlyMap<string, Decimal>): ReadonlyMap<string, Decimal> {
    return new Map(
      [...this.deviceSlots.keys()].flatMap((id): [string, Decimal][] => {
        const amount = amounts.get(id);
        return amount?.greaterThan(ZERO) === true ? [[id, amount]] : [];
      }),
    );
  }

  #idsNear(slotName: string, { devices, map, policy }: AffinityHint): readonly string[] {
    const deviceName = deviceNameOf(slotName);
    const isFirst = devices === null || devices.length === 0;
    const { primary, secondary } = isFirst
      ? { primary: map.clusters(deviceName), secondary: [] }
      : map.neighbors(devices, deviceName);
    if (primary.length === 0)
      throw new NoSuitableDevices(
        deviceName,
        map.devices.map(({ deviceName: name }) => name),
      );
    const clusters = primary
      .map((cluster) => this.#idsAmong(cluster, slotName))
      .map((ids) => ({ ids, allocated: sum(ids.map((id) => this.allocatedOf(id))) }))
      .sort((a, b) => a.allocated.comparedTo(b.allocated))
      .map(({ ids }) => this.#byFree(ids));
    const near = isFirst && policy === 'PREFER_SINGLE_NODE' ? clusters.flat() : roundRobin(clusters);
    return [...near, ...this.#byFree(this.#idsAmong(secondary, slotName))];
  }

  /** Ids in registration order: a family may mix slots, and only devices of this slot count. */
  #idsAmong(devices: readonly AffinityDevice[], slotName: string): readonly string[] {
    const wanted = new Set(devices.map(({ deviceId }) => deviceId));
    return this.#idsOf(slotName).filter((id) => wanted.has(id));
  }

  #idsOf(slotName: string): readonly string[] {
    return [...this.deviceSlots].flatMap(([id, slot]) => (slot.slotName === slotName ? [id] : []));
  }

  #byFree(ids: readonly string[]): readonly string[] {
    return ids
      .map((id) => ({ id, free: this.freeOf(id) }))
      .sort((a, b) => b.free.comparedTo(a.free))
      .map(({ id }) => id);
  }

  #changes(allocations: SlotAllocations): ReadonlyMap<string, Decimal> {
    const changes = new Map<string, Decimal>();
    for (const perDevice of allocations.values())
      for (const [id, amount] of perDevice) changes.set(id, (changes.get(id) ?? ZERO).plus(amount));
    return changes;
  }

  #restore(allocated: ReadonlyMap<string, Decimal>): void {
    this.#allocated.clear();
    for (const [id, amount] of allocated) this.#allocated.set(id, amount);
  }
}

function roundRobin<T>(groups: readonly (readonly T[])[]): readonly T[] {
  const longest = Math.max(0, ...groups.map(({ length }) => length));
  return Array.from({ length: longest }, (_, turn) =>
    groups.flatMap((group) => group.slice(turn, turn + 1)),
  ).flat();
}

/** `total` over `groups` as whole numbers: the first ones get the rest (7 over three: 3, 2, 2). */
export function distribute(total: Decimal, groups: number): readonly Decimal[] {
  const base = total.dividedToIntegerBy(groups);
  const rest = total.minus(base.times(groups)).toNumber();
  return Array.from({ length: groups }, (_, index) => (index < rest ? base.plus(1) : base));
}
