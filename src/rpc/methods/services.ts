import { agentMethod, required } from '../method.js';
import { serviceStatus, serviceStatusToWire } from '../wire/results.js';
import { anyMap, kernelId, nothing, text } from '../wire/scalars.js';

const kernel = required('kernel_id', kernelId, 'The kernel.');
const service = required('service', text, 'Name of one of its service ports.');

/** Services inside kernels (spec/rpc-functions.md 3.9.1). */
export const serviceMethods = [
  agentMethod({
    name: 'start_service',
    doc: 'Starts a service in the kernel; one that runs already is reported as running.',
    params: [kernel, service, required('opts', anyMap, 'arguments and envs of the service.')],
    returns: serviceStatus,
    repeat: 'safe',
    handler: async (args, { agent, signal }) =>
      serviceStatusToWire(await agent.startService(args.kernel_id, args.service, args.opts, signal)),
  }),
  agentMethod({
    name: 'shutdown_service',
    doc: 'Asks a service in the kernel to end; failures are only logged.',
    params: [kernel, service],
    returns: nothing,
    repeat: 'safe',
    handler: async (args, { agent }) => {
      await agent.shutdownService(args.kernel_id, args.service);
      return null;
    },
  }),
] as const;
