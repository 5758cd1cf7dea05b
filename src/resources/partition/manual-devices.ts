import type { Device } from '../devices/device-plugin.js';
import { InvalidResourceConfig, ResourceOverAllocated } from '../errors.js';
import { type Decimal, pythonText, sum, ZERO } from '../quantity/decimal.js';
import type { AgentShare, SlotAmounts } from './modes.js';

/** What the configuration gives one agent in manual mode. */
export interface ManualAllocation {
  /** Slot name -> amount. */
  readonly slots: SlotAmounts;
  /** Device name -> ids of devices that are this agent's as a whole; the slots' amounts follow from them. */
  readonly deviceIds?: Readonly<Record<string, readonly string[]>> | undefined;
}

type Devices = ReadonlyMap<
  string,
  ReadonlyMap<string, { readonly device: Device; readonly amount: Decimal }>
>;

/** The amounts of a manual allocation with those that follow from device ids. @throws InvalidResourceConfig. */
export function withDeviceIds(
  agentId: string,
  manual: ManualAllocation,
  devices: Devices,
  slotNames: readonly string[],
): SlotAmounts {
  const amounts = new Map(manual.slots);
  for (const [name, ids] of Object.entries(manual.deviceIds ?? {})) {
    const family = [...(devices.get(name)?.values() ?? [])];
    const slots = slotNames.filter((slot) => slot === name || slot.startsWith(`${name}.`));
    for (const slot of slots) {
      const own = family.filter(({ device }) => device.slotName === slot && ids.includes(device.deviceId));
      const amount: Decimal = sum(own.map((entry) => entry.amount));
      const configured = manual.slots.get(slot);
      if (
        configured &&
        !configured.equals(amount) &&
        own.every((entry) => entry.amount.equals(entry.device.amount))
      )
        throw new InvalidResourceConfig(
          `agent ${agentId}: the devices given by id make ${pythonText(amount)} of ${slot}, ` +
            `but ${pythonText(configured)} is configured; leave out one of the two`,
        );
      amounts.set(slot, amount);
    }
  }
  return amounts;
}

/** @throws InvalidResourceConfig for ids of devices that the machine does not have. */
export function requireDeviceIds(
  agents: readonly { readonly id: string; readonly manual?: ManualAllocation | undefined }[],
  found: ReadonlyMap<string, readonly Device[]>,
): void {
  for (const { id, manual } of agents)
    for (const [name, ids] of Object.entries(manual?.deviceIds ?? {})) {
      const known = (found.get(name) ?? []).map(({ deviceId }) => deviceId);
      const unknown = ids.filter((deviceId) => !known.includes(deviceId));
      if (unknown.length > 0)
        throw new InvalidResourceConfig(
          `agent ${id}: no ${name} device ${unknown.join(', ')} on this machine (found: ${known.join(', ') || 'none'})`,
        );
    }
}

/**
 * The original accepts manual allocations that together exceed the node by the system's reservation, because nobody
 * enforces them. Here each agent's part is its own, so they must fit.
 * @throws ResourceOverAllocated
 */
export function requirePhysicallyPossible(
  totals: ReadonlyMap<string, { readonly total: Decimal }>,
  shares: ReadonlyMap<string, AgentShare>,
): void {
  for (const [slot, { total }] of totals) {
    const claimed = sum([...shares.values()].map(({ allocated }) => allocated.get(slot) ?? ZERO));
    if (claimed.greaterThan(total))
      throw new ResourceOverAllocated(
        `Resource slot ${slot} was manually allocated ${pythonText(claimed)} across all agents ` +
          `when the node has ${pythonText(total)}: two agents cannot own the same device`,
      );
  }
}
