import { agentMethod, required } from '../method.js';
import { int, nothing } from '../wire/scalars.js';

/** Host ports (spec/rpc-functions.md 3.5). */
export const portMethods = [
  agentMethod({
    name: 'assign_port',
    doc: "Takes a free port out of the agent's range.",
    params: [],
    returns: int,
    repeat: 'unsafe',
    handler: (_args, { agent }) => agent.assignPort(),
  }),
  agentMethod({
    name: 'release_port',
    doc: 'Puts a port back; one out of range is ignored.',
    params: [required('port_no', int, 'The port.')],
    returns: nothing,
    repeat: 'safe',
    handler: async (args, { agent }) => {
      await agent.releasePort(args.port_no);
      return null;
    },
  }),
] as const;
