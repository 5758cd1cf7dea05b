import { agentMethod, required } from '../method.js';
import { nothing, text } from '../wire/scalars.js';

const network = required('network_name', text, 'Name of the network.');

/** Networks of one machine (spec/rpc-functions.md 3.3). */
export const networkMethods = [
  agentMethod({
    name: 'create_local_network',
    doc: 'Makes a bridge network unless it exists.',
    params: [network],
    returns: nothing,
    repeat: 'safe',
    handler: async (args, { agent }) => {
      await agent.createLocalNetwork(args.network_name);
      return null;
    },
  }),
  agentMethod({
    name: 'destroy_local_network',
    doc: 'Removes a network; a missing one is fine.',
    params: [network],
    returns: nothing,
    repeat: 'safe',
    handler: async (args, { agent }) => {
      await agent.destroyLocalNetwork(args.network_name);
      return null;
    },
  }),
] as const;
