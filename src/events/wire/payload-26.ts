import { assertNever } from '../../core/assert-never.js';
import type { AgentId } from '../../core/ids.js';
import type { AgentEvent, AgentInfo } from '../catalogue.js';
import { knownReason } from '../termination-reasons.js';
import { usedDevicesInfo } from './creation-info.js';

/**
 * The named fields of an event for a 26.x manager (spec/events-and-stores.md 3.9), or null for one that those
 * managers do not know any more.
 */
export function payloadFor26(event: AgentEvent, source: AgentId): Readonly<Record<string, unknown>> | null {
  switch (event.name) {
    case 'agent_started':
    case 'agent_terminated':
      return { reason: event.reason };
    case 'agent_heartbeat':
      return { agent_info: agentInfo(event.info) };
    case 'agent_status_heartbeat':
    case 'model_service_status_updated':
      return null;
    case 'agent_error':
      return {
        message: event.message,
        traceback: event.traceback,
        user: null,
        context_env: {},
        severity: 'ERROR',
      };
    case 'agent_installed_images_remove':
      return {
        scanned_images: Object.fromEntries(
          event.images.map(({ canonical, digest }) => [canonical, { canonical, digest }]),
        ),
      };
    case 'do_agent_resource_check':
      return { agent_id: source };
    case 'image_pull_started':
      return {
        image: event.image,
        agent_id: source,
        timestamp: event.timestampMs / 1000,
        image_ref: null,
      };
    case 'image_pull_finished':
      return {
        image: event.image,
        agent_id: source,
        timestamp: event.timestampMs / 1000,
        msg: event.message,
        image_ref: null,
      };
    case 'image_pull_failed':
      return { image: event.image, agent_id: source, msg: event.message, image_ref: null };
    case 'kernel_preparing':
    case 'kernel_pulling':
    case 'kernel_creating':
      return { kernel_id: event.kernelId, session_id: event.sessionId, reason: event.reason };
    case 'kernel_started':
      return {
        kernel_id: event.kernelId,
        session_id: event.sessionId,
        reason: event.reason,
        creation_info: usedDevicesInfo(event.creation),
      };
    case 'kernel_terminated':
      return {
        kernel_id: event.kernelId,
        session_id: event.sessionId,
        reason: knownReason(event.reason),
        exit_code: event.exitCode,
      };
    case 'session_success':
    case 'session_failure':
      return {
        session_id: event.sessionId,
        reason: knownReason(event.reason),
        exit_code: event.exitCode,
      };
    case 'execution_started':
    case 'execution_finished':
    case 'execution_timeout':
      return { session_id: event.sessionId };
    case 'do_sync_kernel_logs':
      return { kernel_id: event.kernelId, container_id: event.containerId };
    case 'bgtask_updated':
      return {
        task_id: event.taskId,
        current_progress: event.current,
        total_progress: event.total,
        message: event.message,
      };
    case 'bgtask_done':
    case 'bgtask_cancelled':
    case 'bgtask_failed':
      return { task_id: event.taskId, message: event.message };
    case 'volume_mounted':
    case 'volume_unmounted':
      return {
        node_id: source,
        node_type: 'agent',
        mount_path: event.mountPath,
        quota_scope_id: event.quotaScopeId,
        err_msg: event.errorMessage,
      };
    case 'service_registered':
      return {
        instance_id: event.instanceId,
        service_group: event.serviceGroup,
        display_name: event.displayName,
        version: event.version,
        labels: event.labels,
        endpoints: event.endpoints,
        startup_time: new Date(event.startedAtMs).toISOString(),
        config_hash: '',
      };
    case 'service_deregistered':
      return { instance_id: event.instanceId, service_group: event.serviceGroup };
    default:
      return assertNever(event, 'event');
  }
}

function agentInfo(info: AgentInfo): Readonly<Record<string, unknown>> {
  return {
    ip: info.host,
    region: info.region,
    scaling_group: info.scalingGroup,
    addr: info.address,
    public_key: info.publicKey,
    public_host: info.publicHost,
    available_resource_slots: Object.entries(info.availableSlots).map(([resource_type, quantity]) => ({
      resource_type,
      quantity,
    })),
    slot_key_and_units: info.slotTypes,
    version: info.version,
    compute_plugins: info.computePlugins,
    architecture: info.architecture,
    auto_terminate_abusing_kernel: info.autoTerminateAbusingKernel,
  };
}
