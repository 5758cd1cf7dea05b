import { z } from 'zod';
import type { Agent, HardwareHealth, ServiceStatus } from '../../agent/agent.js';
import {
  BinarySize,
  Decimal,
  enumValue,
  EnumValue,
  Float,
  PosixPath,
  ResourceSlot,
  SlotName,
} from '../../codec/index.js';
import type {
  AttachedDevice,
  KernelCreationResult,
  KernelDescription,
  KernelPreview,
  KernelRestartResult,
  ResourceSpec,
  ServicePort,
} from '../../kernels/requests.js';
import type { NodeHealth } from '../node-services.js';
import { anything, int, mapOf, text } from './scalars.js';

/**
 * Results, ours to wire, each next to the schema by which a caller reads it. Where the original answers with
 * extension types, so does this (spec/rpc-functions.md 3.7.1), although managers discard most of them.
 */

const seconds = z
  .union([z.number(), z.instanceof(Float).transform((value) => value.value)])
  .describe('float');
const enumMember = z.union([z.string(), z.instanceof(EnumValue)]).transform(String);
const decimal = z.union([z.string(), z.instanceof(Decimal)]).transform(String);
const path = z.union([z.string(), z.instanceof(PosixPath)]).transform(String);
const textKeys = z.union([z.string(), z.instanceof(SlotName)]).transform(String);

/** A map whose keys may be slot names. */
const slotMap = <Value extends z.ZodType>(value: Value) =>
  z
    .union([z.record(z.string(), value), z.map(textKeys, value)])
    .transform((map): Readonly<Record<string, z.output<Value>>> =>
      map instanceof Map ? (Object.fromEntries(map) as Record<string, z.output<Value>>) : map,
    );

const servicePort = z
  .object({
    name: text,
    protocol: enumMember,
    container_ports: z.array(int),
    host_ports: z.array(int.nullable()),
    is_inference: z.boolean(),
    url_template: text.optional(),
    allowed_arguments: z.array(text).optional(),
    allowed_envs: z.array(text).optional(),
  })
  .describe('ServicePort');

export function servicePortToWire(port: ServicePort): z.input<typeof servicePort> {
  return {
    name: port.name,
    protocol: enumValue('ServicePortProtocols', port.protocol),
    container_ports: [...port.containerPorts],
    host_ports: [...port.hostPorts],
    is_inference: port.isInference,
    ...(port.urlTemplate !== undefined && { url_template: port.urlTemplate }),
    ...(port.allowedArguments && { allowed_arguments: [...port.allowedArguments] }),
    ...(port.allowedEnvs && { allowed_envs: [...port.allowedEnvs] }),
  };
}

const resourceSpec = z.object({
  slots: z.union([
    z.instanceof(ResourceSlot).transform((slots) => Object.fromEntries(slots.entries)),
    mapOf(text),
  ]),
  allocations: mapOf(slotMap(mapOf(decimal))),
  scratch_disk_size: int,
  mounts: z.array(
    z.object({
      type: enumMember,
      source: path.nullable(),
      target: path,
      permission: enumMember,
      opts: z.unknown(),
    }),
  ),
});

function resourceSpecToWire(spec: ResourceSpec): z.input<typeof resourceSpec> {
  return {
    slots: ResourceSlot.from(spec.slots),
    allocations: mapValues(
      spec.allocations,
      (slots) =>
        new Map(
          Object.entries(slots).map(([slot, devices]) => [
            new SlotName(slot),
            mapValues(devices, (amount) => new Decimal(amount)),
          ]),
        ),
    ),
    scratch_disk_size: spec.scratchDiskSizeBytes,
    mounts: spec.mounts.map((mount) => ({
      type: enumValue('MountTypes', mount.type),
      source: mount.source === null ? null : new PosixPath(mount.source),
      target: new PosixPath(mount.target),
      permission: enumValue('MountPermission', mount.permission),
      opts: null,
    })),
  };
}

const attachedDevice = z.object({
  device_id: text,
  model_name: text,
  data: z.object({
    cores: int.optional(),
    smp: int.optional(),
    mem: z
      .union([z.int(), z.bigint(), z.instanceof(BinarySize)])
      .transform((size) => BigInt(String(size)))
      .optional(),
  }),
});

function attachedDeviceToWire(device: AttachedDevice): z.input<typeof attachedDevice> {
  const { cores, smp, memBytes } = device.data;
  return {
    device_id: device.deviceId,
    model_name: device.modelName,
    data: {
      ...(cores !== undefined && { cores }),
      ...(smp !== undefined && { smp }),
      ...(memBytes !== undefined && { mem: new BinarySize(memBytes) }),
    },
  };
}

/** spec/rpc-functions.md 3.7.1, "Result". */
export const kernelCreationResult = z
  .object({
    id: text,
    container_id: text,
    kernel_host: text,
    repl_in_port: int,
    repl_out_port: int,
    stdin_port: int,
    stdout_port: int,
    service_ports: z.array(servicePort),
    resource_spec: resourceSpec,
    attached_devices: mapOf(z.array(attachedDevice)),
    agent_addr: text,
    scaling_group: text,
  })
  .describe('KernelCreationResult');

export function creationResultToWire(result: KernelCreationResult): z.input<typeof kernelCreationResult> {
  return {
    id: result.id,
    kernel_host: result.kernelHost,
    repl_in_port: result.replInPort,
    repl_out_port: result.replOutPort,
    // Legacy of the original.
    stdin_port: 0,
    stdout_port: 0,
    service_ports: result.servicePorts.filter((port) => port.protocol !== 'internal').map(servicePortToWire),
    container_id: result.containerId,
    resource_spec: resourceSpecToWire(result.resourceSpec),
    attached_devices: mapValues(result.attachedDevices, (devices) => devices.map(attachedDeviceToWire)),
    agent_addr: result.agentAddr,
    scaling_group: result.scalingGroup,
  };
}

/** spec/rpc-functions.md 3.7.2; internal ports are part of it. */
export const kernelRestartResult = z
  .object({
    container_id: text,
    repl_in_port: int,
    repl_out_port: int,
    stdin_port: int,
    stdout_port: int,
    service_ports: z.array(servicePort),
  })
  .describe('KernelRestartResult');

export function restartResultToWire(result: KernelRestartResult): z.input<typeof kernelRestartResult> {
  return {
    container_id: result.containerId,
    repl_in_port: result.replInPort,
    repl_out_port: result.replOutPort,
    stdin_port: 0,
    stdout_port: 0,
    service_ports: result.servicePorts.map(servicePortToWire),
  };
}

export const kernelDescription = z
  .object({
    agent_id: text,
    kernel_id: text,
    session_id: text,
    state: text,
    /** Absent from daemons before it was there. */
    state_detail: text.nullable().default(null),
    session_type: text,
    image: text,
    runtime_type: text,
    container_id: text.nullable(),
    cluster_role: text,
    cluster_hostname: text,
    created_at_ms: int,
    started_at_ms: int.nullable(),
    termination_reason: text.nullable(),
    resource_slots: mapOf(text),
    service_ports: z.array(servicePort),
  })
  .describe('KernelDescription');

export function descriptionToWire(kernel: KernelDescription): z.input<typeof kernelDescription> {
  return {
    agent_id: kernel.agentId,
    kernel_id: kernel.kernelId,
    session_id: kernel.sessionId,
    state: kernel.state,
    state_detail: kernel.stateDetail,
    session_type: kernel.sessionType,
    image: kernel.image,
    runtime_type: kernel.runtimeType,
    container_id: kernel.containerId,
    cluster_role: kernel.clusterRole,
    cluster_hostname: kernel.clusterHostname,
    created_at_ms: Math.trunc(kernel.createdAtMs),
    started_at_ms: kernel.startedAtMs === null ? null : Math.trunc(kernel.startedAtMs),
    termination_reason: kernel.terminationReason,
    resource_slots: { ...kernel.resourceSlots },
    service_ports: kernel.servicePorts.map(servicePortToWire),
  };
}

export const kernelPreview = z
  .object({ agent_id: text, kernel_id: text, backend: text, launch: mapOf(anything) })
  .describe('KernelPreview');

export function previewToWire(preview: KernelPreview): z.input<typeof kernelPreview> {
  return {
    agent_id: preview.agentId,
    kernel_id: preview.kernelId,
    backend: preview.backend,
    launch: { ...preview.launch },
  };
}

const deviceStatus = z.enum(['healthy', 'degraded', 'offline', 'unavailable']);
const deviceHealth = z.object({ status: deviceStatus, status_info: text.nullable(), metadata: mapOf(text) });
export const hardwareInfo = mapOf(deviceHealth).describe('map<str,DeviceHealth>');
export const hardwareInfoV2 = z
  .object({
    devices: z.array(
      z.object({
        device_name: text,
        status: deviceStatus,
        status_info: text.nullable(),
        metadata: mapOf(text),
      }),
    ),
  })
  .describe('HardwareInfo');

export function deviceHealthToWire(health: HardwareHealth): z.input<typeof deviceHealth> {
  return { status: health.status, status_info: health.statusInfo, metadata: { ...health.metadata } };
}

export const serviceStatus = z
  .object({ status: z.enum(['started', 'running', 'failed']), error: text.optional() })
  .describe('ServiceStatus');

export function serviceStatusToWire(status: ServiceStatus): z.input<typeof serviceStatus> {
  return { ...status };
}

export const kernelStatus = z.object({ started_at: seconds }).nullable().describe('KernelStatus or nil');

export const fileListing = z.object({ files: text, errors: text, abspath: text }).describe('FileListing');

/** `files` is a JSON text with a newline, empty when nothing could be listed (spec/rpc-functions.md 3.9.3). */
export function listingToWire(
  listing: Awaited<ReturnType<Agent['listFiles']>>,
  askedPath: string,
): z.input<typeof fileListing> {
  const files = listing.entries.map((entry) => ({
    mode: entry.mode,
    size: entry.sizeBytes,
    ctime: entry.ctimeMs / 1000,
    mtime: entry.mtimeMs / 1000,
    atime: entry.atimeMs / 1000,
    filename: entry.filename,
  }));
  const failed = files.length === 0 && listing.errors !== '';
  return { files: failed ? '' : `${JSON.stringify(files)}\n`, errors: listing.errors, abspath: askedPath };
}

const healthCheck = z.object({
  service_group: text,
  component_id: text,
  is_healthy: z.boolean(),
  last_checked_at: text,
  error_message: text.nullable(),
});
/** spec/rpc-functions.md 6.2.2. */
export const health = z
  .object({
    status: z.enum(['ok', 'degraded']),
    version: text,
    component: z.literal('agent'),
    connectivity: z.object({
      overall_healthy: z.boolean(),
      connectivity_checks: z.array(healthCheck),
      timestamp: text,
    }),
  })
  .describe('Health');

export function healthToWire(report: NodeHealth): z.input<typeof health> {
  return {
    status: report.status,
    version: report.version,
    component: 'agent',
    connectivity: {
      overall_healthy: report.checks.every((check) => check.isHealthy),
      connectivity_checks: report.checks.map((check) => ({
        service_group: check.serviceGroup,
        component_id: check.componentId,
        is_healthy: check.isHealthy,
        last_checked_at: new Date(check.lastCheckedAtMs).toISOString(),
        error_message: check.errorMessage,
      })),
      timestamp: new Date(report.measuredAtMs).toISOString(),
    },
  };
}

export const completionResult = z
  .object({
    result: z.object({
      status: z.enum(['finished', 'failed']),
      error: text.nullable(),
      suggestions: z.array(anything),
    }),
  })
  .describe('CodeCompletionResp');

export const backgroundTask = z.object({ bgtask_id: text }).loose().describe('{bgtask_id: str}');

function mapValues<From, To>(
  record: Readonly<Record<string, From>>,
  convert: (value: From) => To,
): Record<string, To> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, convert(value)]));
}
