import { z } from 'zod';
import { agentMethod, nodeMethod, optional, required } from '../method.js';
import { deviceHealthToWire, hardwareInfo, hardwareInfoV2, health, healthToWire } from '../wire/results.js';
import { anything, mapOf, text } from '../wire/scalars.js';

/** A v3 request without fields; unknown ones are ignored (spec/rpc-functions.md 2.3). */
const emptyRequest = required('req', z.object({}).describe('{}'), 'No fields yet.');

/** Liveness and metadata (spec/rpc-functions.md 3.1, 2.3). */
export const nodeMethods = [
  nodeMethod({
    name: 'ping',
    doc: 'Echoes its argument.',
    params: [required('msg', anything, 'Any value.')],
    returns: anything,
    repeat: 'safe',
    handler: (args) => args.msg,
  }),
  nodeMethod({
    name: 'health',
    doc: 'State of the node and of its connections.',
    params: [],
    returns: health,
    repeat: 'safe',
    handler: async (_args, { node }) => healthToWire(await node.health()),
  }),
  agentMethod({
    name: 'health_v2',
    doc: 'As health, in the envelope of the 26.9 line.',
    params: [emptyRequest],
    returns: health,
    repeat: 'safe',
    flavour: 'v3',
    handler: async (_args, { node }) => healthToWire(await node.health()),
  }),
  agentMethod({
    name: 'gather_hwinfo',
    doc: 'Health of each compute device that can tell.',
    params: [],
    returns: hardwareInfo,
    repeat: 'safe',
    handler: async (_args, { agent }) => {
      const devices = await agent.hardwareInfo();
      return new Map(Object.entries(devices).map(([name, device]) => [name, deviceHealthToWire(device)]));
    },
  }),
  agentMethod({
    name: 'gather_hwinfo_v2',
    doc: 'As gather_hwinfo, in the envelope of the 26.9 line.',
    params: [emptyRequest],
    returns: hardwareInfoV2,
    repeat: 'safe',
    flavour: 'v3',
    handler: async (_args, { agent }) => ({
      devices: Object.entries(await agent.hardwareInfo()).map(([name, device]) => ({
        device_name: name,
        ...deviceHealthToWire(device),
      })),
    }),
  }),
  agentMethod({
    name: 'scan_gpu_alloc_map',
    doc: "What this agent's kernels hold of each GPU.",
    params: [],
    returns: mapOf(text),
    repeat: 'safe',
    handler: async (_args, { agent }) => ({ ...(await agent.gpuAllocMap()) }),
  }),
  nodeMethod({
    name: 'get_local_config',
    doc: 'Settings of the process that managers ask for.',
    params: [optional('agent_id', anything, null, 'Accepted and not looked at.')],
    returns: z
      .object({ agent: z.object({ 'abuse-report-path': text }), watcher: mapOf(anything) })
      .describe('LocalConfig'),
    repeat: 'safe',
    handler: (_args, { node }) => ({
      agent: { 'abuse-report-path': node.abuseReportPath ?? '' },
      watcher: {},
    }),
  }),
] as const;
