import type { AllocateOptions, AllocMap } from '../../../src/resources/alloc-map/alloc-map.js';
import type { DeviceSlots } from '../../../src/resources/alloc-map/device-slots.js';
import { Decimal, positionalText } from '../../../src/resources/quantity/decimal.js';
import type { SlotType } from '../../../src/resources/quantity/slot-name.js';

/** `{ a0: '1' }` as devices of one slot, in this order. */
export const devices = (
  amounts: Readonly<Record<string, string>>,
  slotName = 'x',
  slotType: SlotType = 'count',
): DeviceSlots =>
  new Map(
    Object.entries(amounts).map(([id, amount]) => [id, { slotName, slotType, amount: new Decimal(amount) }]),
  );

/** `a0`, `a1`, … with the given capacities. */
export const numbered = (
  capacities: readonly (string | number)[],
  slotName = 'x',
  prefix = 'a',
): DeviceSlots =>
  devices(
    Object.fromEntries(capacities.map((capacity, index) => [`${prefix}${String(index)}`, String(capacity)])),
    slotName,
  );

export const amounts = (record: Readonly<Record<string, string | number>>): ReadonlyMap<string, Decimal> =>
  new Map(Object.entries(record).map(([key, value]) => [key, new Decimal(value)]));

/** What one slot got, as texts in order. */
export const ask = (
  map: AllocMap,
  amount: string | number,
  options?: AllocateOptions,
  slotName = 'x',
): [string, string][] => entries(map.allocate(amounts({ [slotName]: amount }), options).get(slotName));

export const entries = (granted: ReadonlyMap<string, Decimal> | undefined): [string, string][] =>
  [...(granted ?? [])].map(([id, amount]) => [id, positionalText(amount)]);

export const giveBack = (
  map: AllocMap,
  granted: readonly (readonly [string, string])[],
  slotName = 'x',
): void => {
  map.free(new Map([[slotName, new Map(granted.map(([id, amount]) => [id, new Decimal(amount)]))]]));
};

/** Allocated amounts of all devices of the slot. */
export const state = (map: AllocMap, slotName = 'x'): string[] =>
  [...map.allocations(slotName).values()].map(positionalText);

/** Name of the error as a manager sees it. */
export function failureOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as { pythonName?: string }).pythonName ?? String(error);
  }
  return 'no failure';
}
