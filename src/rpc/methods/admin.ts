import { agentMethod, required } from '../method.js';
import { bool, nothing, text } from '../wire/scalars.js';

/** Administration of one agent (spec/rpc-functions.md 3.2). */
export const adminMethods = [
  agentMethod({
    name: 'update_scaling_group',
    doc: 'Moves the agent to another scaling group, in memory and in the configuration file.',
    params: [required('scaling_group', text, 'The new group.')],
    returns: nothing,
    repeat: 'safe',
    lastIn: '25.17',
    handler: async (args, { agent }) => {
      await agent.updateScalingGroup(args.scaling_group);
      return null;
    },
  }),
  agentMethod({
    name: 'shutdown_agent',
    doc: 'The agent takes no new kernel from now on, and ends those it has when asked to.',
    params: [required('terminate_kernels', bool, 'End its kernels too.')],
    returns: nothing,
    repeat: 'safe',
    handler: async (args, { agent, signal }) => {
      await agent.shutdown({ terminateKernels: args.terminate_kernels }, signal);
      return null;
    },
  }),
  agentMethod({
    name: 'reset_agent',
    doc: 'Destroys every kernel of the agent and returns its ports and devices; the agent stays in service.',
    params: [],
    returns: nothing,
    repeat: 'safe',
    handler: async (_args, { agent, signal }) => {
      await agent.reset(signal);
      return null;
    },
  }),
] as const;
