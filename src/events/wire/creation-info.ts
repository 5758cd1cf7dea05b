import type { AttachedDevice, KernelCreationResult, ServicePort } from '../../kernels/requests.js';

/** `creation_info` of `kernel_started` as a 25.17 manager stores it (spec/events-and-stores.md 3.6). */
export function creationInfo(result: KernelCreationResult): Record<string, unknown> {
  return {
    id: result.id,
    container_id: result.containerId,
    kernel_host: result.kernelHost,
    repl_in_port: result.replInPort,
    repl_out_port: result.replOutPort,
    // Columns of the manager's table that must not be null.
    stdin_port: 0,
    stdout_port: 0,
    service_ports: publicPorts(result.servicePorts),
    resource_spec: {
      slots: result.resourceSpec.slots,
      allocations: result.resourceSpec.allocations,
      scratch_disk_size: result.resourceSpec.scratchDiskSizeBytes,
      mounts: result.resourceSpec.mounts.map(({ type, source, target, permission }) => ({
        type,
        source,
        target,
        permission,
        opts: null,
      })),
    },
    attached_devices: mapValues(result.attachedDevices, (devices) => devices.map(attachedDevice)),
    scaling_group: result.scalingGroup,
    agent_addr: result.agentAddr,
  };
}

/** The typed record of 26.x: devices with what was used of them (spec/events-and-stores.md 3.9). */
export function usedDevicesInfo(result: KernelCreationResult): Record<string, unknown> {
  const { allocations } = result.resourceSpec;
  const units = Object.fromEntries(
    Object.entries(allocations).map(([device, slots]) => [
      device,
      unitsOf(slots, result.attachedDevices[device] ?? []),
    ]),
  );
  return {
    container_id: result.containerId,
    kernel_host: result.kernelHost,
    repl_in_port: result.replInPort,
    repl_out_port: result.replOutPort,
    service_ports: publicPorts(result.servicePorts).map(
      ({ name, protocol, container_ports, host_ports, is_inference }) => ({
        name,
        protocol,
        container_ports,
        host_ports,
        is_inference,
      }),
    ),
    used_devices: { units },
  };
}

interface UsedUnit {
  model_name: string | null;
  readonly used: Record<string, string>;
  processing_units: number | null;
  memory_size: number | null;
}

function unitsOf(
  slots: Readonly<Record<string, Readonly<Record<string, string>>>>,
  attached: readonly AttachedDevice[],
): Record<string, UsedUnit> {
  const units: Record<string, UsedUnit> = {};
  for (const [slot, amounts] of Object.entries(slots))
    for (const [deviceId, amount] of Object.entries(amounts)) {
      const device = attached.find((candidate) => candidate.deviceId === deviceId);
      units[deviceId] ??= {
        model_name: device?.modelName ?? null,
        used: {},
        processing_units: device?.data.smp ?? device?.data.cores ?? null,
        memory_size: device?.data.memBytes === undefined ? null : Number(device.data.memBytes),
      };
      units[deviceId].used[slot] = amount;
    }
  return units;
}

function publicPorts(ports: readonly ServicePort[]) {
  return ports
    .filter(({ protocol }) => protocol !== 'internal')
    .map((port) => ({
      name: port.name,
      protocol: port.protocol,
      container_ports: [...port.containerPorts],
      host_ports: [...port.hostPorts],
      is_inference: port.isInference,
      ...(port.urlTemplate === undefined ? {} : { url_template: port.urlTemplate }),
      ...(port.allowedArguments ? { allowed_arguments: [...port.allowedArguments] } : {}),
      ...(port.allowedEnvs ? { allowed_envs: [...port.allowedEnvs] } : {}),
    }));
}

function attachedDevice(device: AttachedDevice) {
  const { cores, memBytes, smp } = device.data;
  return {
    device_id: device.deviceId,
    model_name: device.modelName,
    data: {
      ...(cores === undefined ? {} : { cores }),
      ...(memBytes === undefined ? {} : { mem: memBytes }),
      ...(smp === undefined ? {} : { proc: smp }),
    },
  };
}

const mapValues = <T, U>(record: Readonly<Record<string, T>>, map: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
