import { z } from 'zod';
import { ValueError } from '../../core/errors.js';
import type { KernelId, SessionId } from '../../core/ids.js';
import type { ClusterInfo, KernelCreationRequest, KernelImageRef } from '../../kernels/requests.js';
import { agentMethod, nodeMethod, optional, required } from '../method.js';
import {
  clusterInfo,
  completeConfig,
  imageRefOf,
  imageRefs,
  kernelCreationConfig,
} from '../wire/kernel-creation.js';
import {
  creationResultToWire,
  descriptionToWire,
  kernelCreationResult,
  kernelDescription,
  kernelPreview,
  kernelRestartResult,
  kernelStatus,
  previewToWire,
  restartResultToWire,
} from '../wire/results.js';
import { Float } from '../../codec/index.js';
import {
  anyMap,
  bool,
  containerId,
  enumText,
  imageRef,
  kernelId,
  nothing,
  orNil,
  sessionId,
  text,
} from '../wire/scalars.js';

const kernel = required('kernel_id', kernelId, 'The kernel.');
const session = required('session_id', sessionId, 'The session the kernel belongs to.');
const empty = z.strictObject({}).describe('{}');

/** One request for each kernel id that has a configuration. @throws KeyError for one without an image reference. */
function requestsOf(args: {
  readonly raw_session_id: SessionId;
  readonly raw_kernel_ids: readonly KernelId[];
  readonly raw_configs: readonly z.output<typeof kernelCreationConfig>[];
  readonly raw_cluster_info: ClusterInfo;
  readonly kernel_image_refs: ReadonlyMap<KernelId, KernelImageRef>;
}): readonly KernelCreationRequest[] {
  return args.raw_kernel_ids.flatMap((id, index) => {
    const config = args.raw_configs[index];
    if (!config) return [];
    const imageRef = imageRefOf(args.kernel_image_refs, id);
    return [
      {
        sessionId: args.raw_session_id,
        kernelId: id,
        config: completeConfig(config, imageRef),
        cluster: args.raw_cluster_info,
        imageRef,
      },
    ];
  });
}

/** What a manager says of the kernels that it wants. */
const creationParams = [
  required('raw_session_id', sessionId, 'The session.'),
  required('raw_kernel_ids', z.array(kernelId).describe('array<uuid-str>'), 'The kernels to create.'),
  required(
    'raw_configs',
    z.array(kernelCreationConfig).describe('array<KernelCreationConfig>'),
    'One configuration for each kernel, in the same order.',
  ),
  required('raw_cluster_info', clusterInfo, 'What the kernels of the session have in common.'),
  required('kernel_image_refs', imageRefs, 'The image of each kernel.'),
] as const;

/** Functions over kernels (spec/rpc-functions.md 3.6 and 3.7), and the two cross-agent queries of this program. */
export const kernelMethods = [
  agentMethod({
    name: 'create_kernels',
    doc: 'Creates the kernels of one session on this agent and waits until their runners answer.',
    params: creationParams,
    returns: z.array(kernelCreationResult).describe('array<KernelCreationResult>'),
    // Creation is idempotent by kernel id.
    repeat: 'safe',
    handler: async (args, { agent, signal, managerVersion }) => {
      const { raw_kernel_ids: ids, raw_configs: configs } = args;
      // 25.17 zips the two arrays and so ignores what the longer one has more.
      if (ids.length !== configs.length && managerVersion !== '25.17')
        throw new ValueError(
          `create_kernels: ${String(ids.length)} kernel ids but ${String(configs.length)} configurations`,
        );
      return (await agent.createKernels(requestsOf(args), signal)).map(creationResultToWire);
    },
  }),
  agentMethod({
    name: 'plan_kernel',
    doc:
      'What create_kernels with the same arguments would ask of the backend, with the devices and ports that are free ' +
      'now. Makes nothing and takes nothing.',
    params: [
      ...creationParams,
      optional('show_secrets', bool, false, 'With the values of the variables that the configurations hold.'),
    ],
    returns: z.array(kernelPreview).describe('array<KernelPreview>'),
    repeat: 'safe',
    handler: async (args, { agent }) => {
      const { raw_kernel_ids: ids, raw_configs: configs } = args;
      if (ids.length !== configs.length)
        throw new ValueError(
          `plan_kernel: ${String(ids.length)} kernel ids but ${String(configs.length)} configurations`,
        );
      const previews = await agent.previewKernels(requestsOf(args), { showSecrets: args.show_secrets });
      return previews.map(previewToWire);
    },
  }),
  agentMethod({
    name: 'restart_kernel',
    doc: 'Ends the kernel and starts it again with the same scratch directory and resources.',
    params: [
      session,
      kernel,
      required('kernel_image', imageRef, 'The image to start it from.'),
      required('updated_config', anyMap, 'Keys of the creation configuration that replace the stored ones.'),
    ],
    returns: kernelRestartResult,
    repeat: 'unsafe',
    handler: async (args, { agent, signal }) =>
      restartResultToWire(
        await agent.restartKernel(
          {
            sessionId: args.session_id,
            kernelId: args.kernel_id,
            imageRef: args.kernel_image,
            updatedConfig: args.updated_config,
          },
          signal,
        ),
      ),
  }),
  agentMethod({
    name: 'destroy_kernel',
    doc: 'Ends the kernel and returns once everything of it is cleaned up; a kernel that is not here succeeds too.',
    params: [
      kernel,
      session,
      optional('reason', orNil(enumText), null, 'Default: user-requested.'),
      optional('suppress_events', bool, false, 'Send no event about the end.'),
    ],
    returns: nothing,
    repeat: 'safe',
    handler: async (args, { agent }) => {
      await agent.destroyKernel({
        kernelId: args.kernel_id,
        sessionId: args.session_id,
        reason: args.reason,
        suppressEvents: args.suppress_events,
      });
      return null;
    },
  }),
  agentMethod({
    name: 'check_creating',
    doc: 'Is the kernel being created here, or registered in any state?',
    params: [kernel],
    returns: bool,
    repeat: 'safe',
    handler: (args, { agent }) => agent.isCreating(args.kernel_id),
  }),
  agentMethod({
    name: 'check_running',
    doc: 'Is the kernel registered here in state running?',
    params: [kernel],
    returns: bool,
    repeat: 'safe',
    handler: (args, { agent }) => agent.isRunning(args.kernel_id),
  }),
  agentMethod({
    name: 'ping_kernel',
    doc: 'Asks the kernel runner for its status; nil when it does not answer.',
    params: [kernel],
    returns: kernelStatus,
    repeat: 'safe',
    handler: async (args, { agent, signal }) => {
      const status = await agent.pingKernel(args.kernel_id, signal);
      return status && { started_at: new Float(status.startedAtSec) };
    },
  }),
  agentMethod({
    name: 'sync_kernel_registry',
    doc: 'Announces listed kernels that are not here as terminated, and destroys kernels that are not listed.',
    params: [
      required(
        'raw_kernel_session_ids',
        z.array(z.tuple([kernelId, sessionId])).describe('array<[uuid-str, uuid-str]>'),
        'All kernels the caller knows on this agent, each with its session.',
      ),
    ],
    returns: nothing,
    repeat: 'safe',
    handler: async (args, { agent }) => {
      await agent.syncKernelRegistry(
        args.raw_kernel_session_ids.map(([id, ofSession]) => ({ kernelId: id, sessionId: ofSession })),
      );
      return null;
    },
  }),
  agentMethod({
    name: 'purge_containers',
    doc: 'Removes containers that the caller no longer knows, in the background and without events.',
    params: [
      required(
        'container_kernel_ids',
        z.array(z.tuple([containerId, kernelId])).describe('array<[str, uuid-str]>'),
        'Container id and kernel id, in this order.',
      ),
    ],
    returns: empty,
    repeat: 'safe',
    lastIn: '25.17',
    handler: async (args, { agent }) => {
      await agent.purgeContainers(
        args.container_kernel_ids.map(([container, id]) => ({ containerId: container, kernelId: id })),
      );
      return {};
    },
  }),
  agentMethod({
    name: 'drop_kernel_registry',
    doc: 'Ends kernels that the manager does not know any more, in the background and without events.',
    params: [required('kernel_ids', z.array(kernelId).describe('array<ext(UUID)>'), 'The kernels to end.')],
    returns: empty,
    repeat: 'safe',
    lastIn: '25.17',
    handler: async (args, { agent }) => {
      await agent.dropKernelRegistry(args.kernel_ids);
      return {};
    },
  }),
  nodeMethod({
    name: 'list_kernels',
    doc: 'Describes the kernels of one agent, or of every agent of this node.',
    params: [optional('agent_id', orNil(text), null, 'Absent or nil: all agents.')],
    returns: z.array(kernelDescription).describe('array<KernelDescription>'),
    repeat: 'safe',
    handler: (args, { node }) => node.agents.listKernels(args.agent_id).map(descriptionToWire),
  }),
  nodeMethod({
    name: 'describe_kernel',
    doc: 'Describes one kernel, wherever on this node it is.',
    params: [kernel, optional('agent_id', orNil(text), null, 'Absent or nil: look on all agents.')],
    returns: kernelDescription,
    repeat: 'safe',
    handler: (args, { node }) => descriptionToWire(node.agents.describeKernel(args.kernel_id, args.agent_id)),
  }),
] as const;
