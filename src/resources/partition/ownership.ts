import { InvalidResourceConfig } from '../errors.js';
import { Decimal, sum, ZERO } from '../quantity/decimal.js';

/** Device id -> how much of it one owner has. */
export type Holding = ReadonlyMap<string, Decimal>;

export interface OwnerClaim {
  readonly id: string;
  /** How much of the slot the owner is to have in all. */
  readonly target: Decimal;
  /** Devices that are to be wholly this owner's, instead of any up to the target. */
  readonly deviceIds?: readonly string[] | undefined;
  /** What its kernels use: stays with it in any case. */
  readonly used: Holding;
  /** What it has had so far: stays with it as far as the target allows. */
  readonly current: Holding;
}

/**
 * Deals the devices of one slot out to owners, so that no part of a device has two. Devices go whole, in registration
 * order; only where a target ends inside a device is it cut. What is over belongs to nobody: the system's reserve.
 * Conservation comes before targets: an owner may get less when the kernels of another use more than their share.
 */
export function dealOut(
  slotName: string,
  devices: ReadonlyMap<string, Decimal>,
  claims: readonly OwnerClaim[],
): ReadonlyMap<string, Holding> {
  const left = new Map(devices);
  const owned = new Map(claims.map(({ id }) => [id, new Map<string, Decimal>()]));
  const give = (owner: string, deviceId: string, wanted: Decimal): void => {
    const rest = left.get(deviceId) ?? ZERO;
    const amount = Decimal.min(wanted, rest);
    if (!amount.greaterThan(ZERO)) return;
    const holding = owned.get(owner);
    holding?.set(deviceId, (holding.get(deviceId) ?? ZERO).plus(amount));
    left.set(deviceId, rest.minus(amount));
  };
  const missing = ({ id, target }: OwnerClaim): Decimal => target.minus(sum(owned.get(id)?.values() ?? []));

  for (const claim of claims) for (const [deviceId, amount] of claim.used) give(claim.id, deviceId, amount);
  refuseSharedIds(slotName, devices, claims);
  for (const claim of claims)
    for (const deviceId of claim.deviceIds ?? [])
      if (devices.has(deviceId)) give(claim.id, deviceId, left.get(deviceId) ?? ZERO);
  const byAmount = claims.filter(({ deviceIds }) => deviceIds === undefined);
  for (const claim of byAmount)
    for (const [deviceId, amount] of claim.current) {
      const beyondUse = amount.minus(owned.get(claim.id)?.get(deviceId) ?? ZERO);
      give(claim.id, deviceId, Decimal.min(beyondUse, missing(claim)));
    }
  for (const claim of byAmount)
    for (const deviceId of devices.keys()) give(claim.id, deviceId, missing(claim));
  return new Map([...owned].map(([id, holding]) => [id, inOrderOf(devices, holding)]));
}

function refuseSharedIds(
  slotName: string,
  devices: ReadonlyMap<string, Decimal>,
  claims: readonly OwnerClaim[],
): void {
  const claimedBy = new Map<string, string>();
  for (const { id, deviceIds } of claims)
    for (const deviceId of deviceIds ?? []) {
      if (!devices.has(deviceId)) continue;
      const other = claimedBy.get(deviceId);
      if (other !== undefined)
        throw new InvalidResourceConfig(
          `device ${deviceId} of ${slotName} is given to both agent ${other} and agent ${id}: give it to one`,
        );
      claimedBy.set(deviceId, id);
    }
}

const inOrderOf = (devices: ReadonlyMap<string, Decimal>, holding: Holding): Holding =>
  new Map(
    [...devices.keys()].flatMap((id): [string, Decimal][] => {
      const amount = holding.get(id);
      return amount === undefined ? [] : [[id, amount]];
    }),
  );
