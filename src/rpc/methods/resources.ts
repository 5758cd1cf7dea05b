import { z } from 'zod';
import type { Agent } from '../../agent/agent.js';
import { nodeMethod, optional } from '../method.js';
import { orNil, text } from '../wire/scalars.js';

const slotUsage = z.object({
  capacity: text,
  reported: text,
  reserved: text,
  allocated: text,
  allocated_by_siblings: text,
  free: text,
});
const deviceUsage = z.object({
  slot_name: text,
  model_name: text,
  numa_node: z.int().nullable(),
  capacity: text,
  allocated: text,
  free: text,
  kernels: z.record(text, text),
});
const agentUsage = z.object({
  agent_id: text,
  slots: z.record(text, slotUsage),
  devices: z.record(text, z.record(text, deviceUsage)),
  kernels: z.record(text, z.record(text, text)),
});

/** Functions of this program's own: what is allocated, and whether the books are in order. */
export const resourceMethods = [
  nodeMethod({
    name: 'describe_resources',
    doc: 'What each agent has of the node, what of it is taken and by which kernel. Amounts are decimal texts.',
    params: [optional('agent_id', orNil(text), null, 'Absent or nil: all agents.')],
    returns: z.array(agentUsage).describe('array<AgentUsage>'),
    repeat: 'safe',
    handler: ({ agent_id: id }, { node: { agents } }) =>
      (id === null ? agents.listAgents() : [agents.getAgent(id)]).map(usageToWire),
  }),
  nodeMethod({
    name: 'examine',
    doc: 'Checks that what must hold of the running node does hold: stores answer; nothing allocated is lost, doubled or left over. `since` is an ISO 8601 time, or nil.',
    params: [],
    returns: z
      .array(z.object({ check: text, ok: z.boolean(), findings: z.array(text), since: text.nullable() }))
      .describe('array<{check, ok, findings, since}>'),
    repeat: 'safe',
    handler: async (_args, { node }) =>
      (await node.examine()).map(({ check, findings, sinceMs }) => ({
        check,
        ok: findings.length === 0,
        findings: [...findings],
        since: sinceMs === null ? null : new Date(sinceMs).toISOString(),
      })),
  }),
] as const;

function usageToWire(agent: Agent): z.input<typeof agentUsage> {
  const { agentId, slots, devices, kernels } = agent.resourceUsage();
  return {
    agent_id: agentId,
    slots: mapValues(slots, ({ allocatedBySiblings, ...usage }) => ({
      ...usage,
      allocated_by_siblings: allocatedBySiblings,
    })),
    devices: mapValues(devices, (family) =>
      mapValues(family, ({ slotName, modelName, numaNode, capacity, allocated, free, kernels: holders }) => ({
        slot_name: slotName,
        model_name: modelName,
        numa_node: numaNode,
        capacity,
        allocated,
        free,
        kernels: { ...holders },
      })),
    ),
    kernels: mapValues(kernels, (amounts) => ({ ...amounts })),
  };
}

const mapValues = <T, U>(record: Readonly<Record<string, T>>, map: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
