import { parseDecimal } from '../quantity/decimal.js';
import type { AllocationStrategy, AllocMap } from './alloc-map.js';
import type { DeviceSlots } from './device-slots.js';
import { DiscretePropertyAllocMap } from './discrete.js';
import { FractionAllocMap } from './fraction.js';

/** How devices of one family are given out. */
export type AllocationStyle =
  | { readonly kind: 'discrete'; readonly strategy?: AllocationStrategy }
  | {
      readonly kind: 'fraction';
      readonly strategy?: AllocationStrategy;
      /** Smallest unit that is given out, a decimal text; default 0.01. */
      readonly quantum?: string;
    };

/** An empty map over the given devices. */
export function createAllocMap(
  style: AllocationStyle,
  deviceSlots: DeviceSlots,
  exclusive: readonly string[] = [],
): AllocMap {
  const options = {
    deviceSlots,
    exclusiveSlots: new Set(exclusive),
    ...(style.strategy ? { strategy: style.strategy } : {}),
  };
  if (style.kind === 'discrete') return new DiscretePropertyAllocMap(options);
  return new FractionAllocMap({
    ...options,
    ...(style.quantum === undefined ? {} : { quantum: parseDecimal(style.quantum) }),
  });
}
