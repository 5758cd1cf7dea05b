import type { Decimal } from '../quantity/decimal.js';
import type { SlotType } from '../quantity/slot-name.js';

/** What one device counts as. A device carries exactly one slot. */
export interface DeviceSlot {
  readonly slotType: SlotType;
  readonly slotName: string;
  readonly amount: Decimal;
}

/** Device id -> its slot, in registration order: the order breaks ties. */
export type DeviceSlots = ReadonlyMap<string, DeviceSlot>;

/** Slot name -> device id -> amount, in the order of allocation. */
export type SlotAllocations = ReadonlyMap<string, ReadonlyMap<string, Decimal>>;
