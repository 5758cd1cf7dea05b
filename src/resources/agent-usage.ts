import type { AgentId } from '../core/ids.js';
import { amountsOf } from './allocation.js';
import type { DeviceLedger } from './device-ledger.js';
import { type Decimal, positionalText, ZERO } from './quantity/decimal.js';

/** Where an agent's resources are. For each slot: capacity = allocated + allocatedBySiblings + free. */
export interface AgentUsage {
  readonly agentId: AgentId;
  readonly slots: Readonly<Record<string, SlotUsage>>;
  /** Device name -> device id -> where it is; only devices that the agent can draw on. */
  readonly devices: Readonly<Record<string, Readonly<Record<string, DeviceUsage>>>>;
  /** Kernel id -> slot -> amount. */
  readonly kernels: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** Exact decimal texts. */
export interface SlotUsage {
  readonly capacity: string;
  /** What the manager is told: the capacity, aligned. */
  readonly reported: string;
  /** What the node has besides: kept for the system or owned by siblings. */
  readonly reserved: string;
  readonly allocated: string;
  /** In shared mode, where siblings draw on the same devices. */
  readonly allocatedBySiblings: string;
  readonly free: string;
}

export interface DeviceUsage {
  readonly slotName: string;
  readonly modelName: string;
  readonly numaNode: number | null;
  readonly capacity: string;
  readonly allocated: string;
  readonly free: string;
  /** Kernel id -> amount, of this agent and, in shared mode, of its siblings. */
  readonly kernels: Readonly<Record<string, string>>;
}

export function agentUsage(ledger: DeviceLedger, agentId: AgentId): AgentUsage {
  const kernels: Record<string, Record<string, string>> = {};
  const allocated = new Map<string, Decimal>();
  for (const { kernelId, granted } of ledger.bookingsOf(agentId)) {
    const own = new Map<string, Decimal>();
    for (const { slotName, amount } of amountsOf(granted)) {
      own.set(slotName, (own.get(slotName) ?? ZERO).plus(amount));
      allocated.set(slotName, (allocated.get(slotName) ?? ZERO).plus(amount));
    }
    kernels[kernelId] = Object.fromEntries([...own].map(([slot, amount]) => [slot, positionalText(amount)]));
  }
  const slots = [...ledger.reportedSlots(agentId)].map(([slot, reported]): [string, SlotUsage] => {
    const capacity = ledger.capacityOf(agentId, slot);
    const free = ledger.freeOf(agentId, slot);
    const own = allocated.get(slot) ?? ZERO;
    return [
      slot,
      {
        capacity: positionalText(capacity),
        reported: positionalText(reported),
        reserved: positionalText(ledger.totalOf(slot).minus(capacity)),
        allocated: positionalText(own),
        allocatedBySiblings: positionalText(capacity.minus(free).minus(own)),
        free: positionalText(free),
      },
    ];
  });
  return { agentId, slots: Object.fromEntries(slots), devices: deviceUsage(ledger, agentId), kernels };
}

function deviceUsage(ledger: DeviceLedger, agentId: AgentId): AgentUsage['devices'] {
  const holders = ledger.holdersOf(agentId);
  const families = [...ledger.mapsOf(agentId)].map(
    ([name, map]): [string, Readonly<Record<string, DeviceUsage>>] => {
      const entries = [...map.deviceSlots].map(([deviceId, slot]): [string, DeviceUsage] => {
        const device = ledger.devicesOf(name).get(deviceId)?.device;
        return [
          deviceId,
          {
            slotName: slot.slotName,
            modelName: device?.modelName ?? '',
            numaNode: device?.numaNode ?? null,
            capacity: positionalText(slot.amount),
            allocated: positionalText(map.allocatedOf(deviceId)),
            free: positionalText(map.freeOf(deviceId)),
            kernels: holders.get(name)?.get(deviceId) ?? {},
          },
        ];
      });
      return [name, Object.fromEntries(entries)];
    },
  );
  return Object.fromEntries(families);
}
