import { InvalidResourceConfig, ResourceOverAllocated } from '../errors.js';
import { Decimal, positionalText, pythonText, sum, ZERO } from '../quantity/decimal.js';
import { INTRINSIC_SLOTS } from '../quantity/slot-name.js';
import { alignMemory } from './memory-alignment.js';

/** How the agents of one node share it (spec/config-and-resources.md 3). */
export type AllocationMode = 'shared' | 'auto-split' | 'manual';

export type SlotAmounts = ReadonlyMap<string, Decimal>;

export interface PartitionInput {
  readonly mode: AllocationMode;
  /** Slot -> everything the node has, and the kind of alloc map that holds it. */
  readonly totals: ReadonlyMap<string, { readonly total: Decimal; readonly kind: 'discrete' | 'fraction' }>;
  /** Slot -> kept from kernels. */
  readonly system: SlotAmounts;
  /** In the order of the configuration. In manual mode with what each is to have. */
  readonly agents: readonly { readonly id: string; readonly manual?: SlotAmounts | undefined }[];
  readonly memoryAlignBytes: bigint;
}

/** What one agent has by the arithmetic of its mode. */
export interface AgentShare {
  readonly allocated: SlotAmounts;
  /** The part of the node that is not this agent's. */
  readonly reserved: SlotAmounts;
  /** What the agent tells the manager. */
  readonly reported: SlotAmounts;
  /** By which node-wide measurements are multiplied to become this agent's. */
  readonly scaling: SlotAmounts;
}

/**
 * The shares of all agents, in their order.
 * @throws InvalidResourceConfig when the node has less than is to be kept back, or a manual allocation lacks a slot.
 */
export function partition(input: PartitionInput): readonly AgentShare[] {
  const available = availableSlots(input);
  return input.agents.map((agent, index) => {
    const allocated = new Map(
      [...available].map(([slot, amount]) => [slot, shareOf(input, agent, index, slot, amount)]),
    );
    return describe(input, available, allocated);
  });
}

function availableSlots({ totals, system }: PartitionInput): SlotAmounts {
  const available = new Map<string, Decimal>();
  for (const [slot, { total }] of totals) {
    const kept = system.get(slot) ?? ZERO;
    if (INTRINSIC_SLOTS.includes(slot) && !total.greaterThan(ZERO))
      throw new InvalidResourceConfig(
        `The resource slot '${slot}' is not sufficient (zero or below zero). ` +
          'Try to adjust the reserved resources or use a larger machine.',
      );
    if (total.lessThan(kept))
      throw new InvalidResourceConfig(
        `Slot ${slot} reserved for ${pythonText(kept)}, which is larger than total slot available ${pythonText(total)}`,
      );
    available.set(slot, total.minus(kept));
  }
  return available;
}

function shareOf(
  { mode, totals, agents }: PartitionInput,
  agent: PartitionInput['agents'][number],
  index: number,
  slot: string,
  available: Decimal,
): Decimal {
  if (mode === 'shared') return available;
  if (mode === 'auto-split') {
    if (totals.get(slot)?.kind === 'fraction') return available.dividedBy(agents.length);
    const quotient = available.dividedToIntegerBy(agents.length);
    const rest = available.minus(quotient.times(agents.length));
    return rest.greaterThan(index) ? quotient.plus(1) : quotient;
  }
  const manual = agent.manual?.get(slot);
  if (manual === undefined && totals.get(slot)?.total.isZero() === true) return ZERO;
  if (manual === undefined)
    throw new InvalidResourceConfig(
      `slot_name=${slot} not found in config: agent ${agent.id} is allocated manually and must say how much of it is its own`,
    );
  return manual;
}

function describe(input: PartitionInput, available: SlotAmounts, allocated: SlotAmounts): AgentShare {
  const reserved = new Map<string, Decimal>();
  const reported = new Map<string, Decimal>();
  const scaling = new Map<string, Decimal>();
  for (const [slot, share] of allocated) {
    const total = input.totals.get(slot)?.total ?? ZERO;
    const kept = Decimal.max(total.minus(share), ZERO);
    reserved.set(slot, kept);
    reported.set(slot, reportedAmount(slot, total, kept, input.memoryAlignBytes));
    scaling.set(slot, scalingFactor(input, share, available.get(slot) ?? ZERO));
  }
  return { allocated, reserved, reported, scaling };
}

/** spec/config-and-resources.md 3.3 */
export function reportedAmount(
  slot: string,
  total: Decimal,
  reserved: Decimal,
  memoryAlignBytes: bigint,
): Decimal {
  if (slot !== 'mem') return Decimal.max(ZERO, total.minus(reserved));
  const { usableBytes } = alignMemory(bytes(total), bytes(reserved), memoryAlignBytes);
  return new Decimal(String(usableBytes));
}

const bytes = (amount: Decimal): bigint => BigInt(positionalText(amount.trunc()));

function scalingFactor({ mode, agents }: PartitionInput, share: Decimal, available: Decimal): Decimal {
  if (mode === 'shared') return new Decimal(1);
  if (mode === 'auto-split') return new Decimal(1).dividedBy(agents.length);
  return available.isZero() ? ZERO : share.dividedBy(available);
}

/**
 * The original's check of manual allocations; it counts the system's reservation once for each agent (P16 and P17 of
 * the specification).
 * @throws ResourceOverAllocated
 */
export function refuseOverAllocation(input: PartitionInput, shares: readonly AgentShare[]): void {
  for (const [slot, capacity] of availableSlots(input)) {
    const claimed = sum(shares.map(({ reserved }) => capacity.minus(reserved.get(slot) ?? ZERO)));
    if (claimed.greaterThan(capacity))
      throw new ResourceOverAllocated(
        `Resource slot ${slot} was manually allocated ${pythonText(claimed)} across all agents ` +
          `when total capacity is ${pythonText(capacity)}.`,
      );
  }
}
