import { type Decimal, ZERO } from '../quantity/decimal.js';
import { belongsTo, deviceNameOf } from '../quantity/slot-name.js';
import type { AffinityDevice, AffinityMap, AffinityPolicy } from './affinity-map.js';
import type { AllocMap } from './alloc-map.js';
import type { SlotAllocations } from './device-slots.js';

export interface AllocationRules {
  /** Device names; a name that is not listed comes last. */
  readonly order: readonly string[];
  readonly affinityMap: AffinityMap;
  readonly policy: AffinityPolicy;
  /** Default true. */
  readonly allowFragmentation?: boolean | undefined;
}

/** Device name -> what it gives, in the order of allocation; devices asked for nothing have an empty entry. */
export type DeviceAllocations = ReadonlyMap<string, SlotAllocations>;

/**
 * Gives a kernel all its slots, device by device, each near the one before, or nothing at all
 * (spec/config-and-resources.md 5.6).
 * @throws whatever the alloc map throws; every map is then as it was.
 */
export function allocate(
  maps: ReadonlyMap<string, AllocMap>,
  slots: ReadonlyMap<string, Decimal>,
  rules: AllocationRules,
): DeviceAllocations {
  const names = [...new Set([...slots.keys()].map(deviceNameOf))].filter((name) => maps.has(name));
  const done = new Map<string, SlotAllocations>();
  let near: readonly AffinityDevice[] = [];
  try {
    for (const name of inOrder(names, rules.order)) {
      const wanted = new Map([...slots].filter(([slot]) => belongsTo(slot, name)));
      const granted =
        maps.get(name)?.allocate(wanted, {
          hint: { devices: near, map: rules.affinityMap, policy: rules.policy },
          contextTag: name,
          allowFragmentation: rules.allowFragmentation,
        }) ?? new Map();
      done.set(name, granted);
      near = devicesUsed(name, granted, rules.affinityMap);
    }
  } catch (error) {
    for (const [name, granted] of done) maps.get(name)?.free(granted);
    throw error;
  }
  return done;
}

export function inOrder(names: readonly string[], order: readonly string[]): readonly string[] {
  const rank = (name: string): number => {
    const index = order.indexOf(name);
    return index < 0 ? order.length : index;
  };
  return [...names].sort((a, b) => rank(a) - rank(b));
}

function devicesUsed(name: string, granted: SlotAllocations, map: AffinityMap): readonly AffinityDevice[] {
  const ids = [...granted.values()].flatMap((perDevice) =>
    [...perDevice].flatMap(([id, amount]) => (amount.greaterThan(ZERO) ? [id] : [])),
  );
  return [...new Set(ids)].flatMap((id) =>
    map.devices.filter(({ deviceName, deviceId }) => deviceName === name && deviceId === id),
  );
}
