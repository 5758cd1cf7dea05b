import { deflateSync } from 'node:zlib';
import { type Codec, Float, ResourceSlot, SlotName } from '../../codec/index.js';
import type { AgentId } from '../../core/ids.js';
import { assertNever } from '../../core/assert-never.js';
import type { AgentEvent, AgentInfo } from '../catalogue.js';
import { creationInfo } from './creation-info.js';

/**
 * The argument tuple of an event for a 25.17 manager, in the order of spec/events-and-stores.md 3.5, or null for one
 * that those managers do not know yet.
 */
export function argsFor25(event: AgentEvent, source: AgentId, codec: Codec): readonly unknown[] | null {
  switch (event.name) {
    case 'agent_started':
    case 'agent_terminated':
      return [event.reason];
    case 'agent_heartbeat':
      return [agentInfo(event.info, codec)];
    case 'agent_status_heartbeat':
      return [
        source,
        event.containers.map(({ containerId, kernelId, status }) => ({
          container_id: containerId,
          kernel_id: kernelId,
          status,
        })),
        event.kernels.map(({ kernelId, containerId }) => [kernelId, containerId]),
      ];
    case 'agent_error':
      return [event.message, event.traceback, null, {}, 'ERROR'];
    case 'agent_installed_images_remove':
      return [
        Object.fromEntries(event.images.map(({ canonical, digest }) => [canonical, { canonical, digest }])),
      ];
    case 'do_agent_resource_check':
      return [source];
    case 'image_pull_started':
      return [event.image, source, seconds(event.timestampMs)];
    case 'image_pull_finished':
      return [event.image, source, seconds(event.timestampMs), event.message, null];
    case 'image_pull_failed':
      return [event.image, source, event.message];
    case 'kernel_preparing':
    case 'kernel_pulling':
    case 'kernel_creating':
      return [event.kernelId, event.sessionId, event.reason, {}];
    case 'kernel_started':
      return [event.kernelId, event.sessionId, event.reason, creationInfo(event.creation)];
    case 'kernel_terminated':
      return [event.kernelId, event.sessionId, event.reason, event.exitCode];
    case 'session_success':
    case 'session_failure':
      return [event.sessionId, event.reason, event.exitCode];
    case 'execution_started':
    case 'execution_finished':
    case 'execution_timeout':
      return [event.sessionId];
    case 'do_sync_kernel_logs':
      return [event.kernelId, event.containerId];
    case 'model_service_status_updated':
      return [event.sessionId, event.status];
    case 'bgtask_updated':
      return [event.taskId, event.current, event.total, event.message];
    case 'bgtask_done':
    case 'bgtask_cancelled':
    case 'bgtask_failed':
      return [event.taskId, event.message];
    case 'volume_mounted':
    case 'volume_unmounted':
      return [source, 'agent', event.mountPath, event.quotaScopeId, event.errorMessage];
    case 'service_registered':
    case 'service_deregistered':
      return null;
    default:
      return assertNever(event, 'event');
  }
}

/** Managers of 25.17 want real objects for slots, hence the codec's values (spec/events-and-stores.md 4.2 to 4.4). */
function agentInfo(info: AgentInfo, codec: Codec): Map<string, unknown> {
  const images = info.images.map(({ canonical, digest }) => [canonical, digest]);
  return new Map<string, unknown>([
    ['ip', info.host],
    ['region', info.region],
    ['scaling_group', info.scalingGroup],
    ['addr', info.address],
    ['public_key', info.publicKey === null ? null : Buffer.from(info.publicKey, 'ascii')],
    ['public_host', info.publicHost],
    ['available_resource_slots', ResourceSlot.from(info.availableSlots)],
    [
      'slot_key_and_units',
      new Map(Object.entries(info.slotTypes).map(([slot, unit]) => [new SlotName(slot), unit])),
    ],
    ['version', info.version],
    ['compute_plugins', info.computePlugins],
    ['images', deflateSync(codec.pack(images))],
    ['images_opts', { compression: 'zlib' }],
    ['architecture', info.architecture],
    ['auto_terminate_abusing_kernel', info.autoTerminateAbusingKernel],
  ]);
}

const seconds = (ms: number): Float => new Float(ms / 1000);
