import type { KernelId } from '../core/ids.js';
import type { DeviceAllocations } from './alloc-map/allocate.js';
import { type Decimal, parseDecimal, positionalText } from './quantity/decimal.js';

/** What a kernel asks for. Amounts are decimal texts. */
export interface AllocationRequest {
  readonly slots: Readonly<Record<string, string>>;
  readonly shmemBytes: bigint | null;
  /** May a fractional request be spread over more devices than it needs? */
  readonly allowFractionalFragmentation: boolean;
}

/** Device name -> slot name -> device id -> amount. */
export type AllocationTexts = Readonly<
  Record<string, Readonly<Record<string, Readonly<Record<string, string>>>>>
>;

/** What a kernel has been given. Plain JSON: the journal keeps it. Amounts are exact decimal texts. */
export interface Allocation {
  /** What was asked for, with every other known slot as zero. */
  readonly slots: Readonly<Record<string, string>>;
  readonly allocations: AllocationTexts;
  /** Part of the memory that is to be shared memory, a decimal text; absent or null: the backend's default. */
  readonly shmemBytes?: string | null;
}

/** An allocation in force. */
export interface Booking {
  readonly agentId: string;
  readonly kernelId: KernelId;
  readonly allocation: Allocation;
  readonly granted: DeviceAllocations;
}

export function allocationTexts(granted: DeviceAllocations): AllocationTexts {
  return nested(granted, (slots) =>
    nested(slots, (perDevice) => nested(perDevice, (amount: Decimal) => positionalText(amount))),
  );
}

/** Leaves out amounts of zero, which hold nothing. @throws ValueError for a text that is no number. */
export function parseAllocationTexts(texts: AllocationTexts): DeviceAllocations {
  return new Map(
    Object.entries(texts).map(([name, slots]) => [
      name,
      new Map(
        Object.entries(slots).map(([slot, perDevice]) => [
          slot,
          new Map(
            Object.entries(perDevice)
              .map(([id, amount]): [string, Decimal] => [id, parseDecimal(amount)])
              .filter(([, amount]) => !amount.isZero()),
          ),
        ]),
      ),
    ]),
  );
}

const nested = <V, R>(map: ReadonlyMap<string, V>, convert: (value: V) => R): Record<string, R> =>
  Object.fromEntries([...map].map(([key, value]) => [key, convert(value)]));

/** Every single amount of an allocation. */
export function* amountsOf(
  granted: DeviceAllocations,
): Generator<{ name: string; slotName: string; deviceId: string; amount: Decimal }> {
  for (const [name, slots] of granted)
    for (const [slotName, perDevice] of slots)
      for (const [deviceId, amount] of perDevice) yield { name, slotName, deviceId, amount };
}
