import { amountsOf, type Booking } from './allocation.js';
import { type Decimal, ZERO } from './quantity/decimal.js';

/** How much of each device is booked, in all and by each owner. */
export class DeviceUses {
  readonly #amounts = new Map<string, Decimal>();

  add(owner: string, booking: Booking): void {
    for (const [name, perDevice] of amountsPerDevice(booking))
      for (const [deviceId, amount] of perDevice)
        for (const key of [`${name} ${deviceId}`, `${name} ${deviceId} ${owner}`])
          this.#amounts.set(key, (this.#amounts.get(key) ?? ZERO).plus(amount));
  }

  of(name: string, deviceId: string, owner?: string): Decimal {
    return this.#amounts.get([name, deviceId, ...(owner === undefined ? [] : [owner])].join(' ')) ?? ZERO;
  }
}

/** Device name -> device id -> amount over all slots. */
export function amountsPerDevice({ granted }: Booking): ReadonlyMap<string, ReadonlyMap<string, Decimal>> {
  const amounts = new Map<string, Map<string, Decimal>>();
  for (const { name, deviceId, amount } of amountsOf(granted)) {
    const family = amounts.get(name) ?? new Map<string, Decimal>();
    family.set(deviceId, (family.get(deviceId) ?? ZERO).plus(amount));
    amounts.set(name, family);
  }
  return amounts;
}
