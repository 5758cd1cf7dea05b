import type { Agent } from '../agent/agent.js';
import { isSecretName } from '../core/secret-names.js';
import type { Kernel } from '../kernels/kernel.js';
import type { ServicePort } from '../kernels/requests.js';

/** Texts at the leaves, as Python's `str()` writes them; nothing else. */
export type SnapshotValue = string | readonly SnapshotValue[] | { readonly [name: string]: SnapshotValue };

const REDACTED = '[redacted]';
const KERNEL_SPEC_LABEL = 'ai.backend.kernelspec';

/**
 * What the debug socket writes (spec/rpc-functions.md 6.1): by agent its kernels and what is allocated on its devices,
 * as JSON with two spaces; empty without agents. Values of variables whose names say that they are secrets are left out.
 */
export function snapshotText(agents: readonly Agent[]): string {
  if (agents.length === 0) return '';
  const parts = agents.map((agent) => [
    agent.id,
    {
      registry: Object.fromEntries([...agent.kernels].map((kernel) => [kernel.id, kernelAttributes(kernel)])),
      allocs: allocations(agent),
    },
  ]);
  return `${JSON.stringify(textual(Object.fromEntries(parts)), null, 2)}\n`;
}

/** Numbers, truth values and nothing become their Python texts; the structure stays. Pure. */
export function textual(value: unknown): SnapshotValue {
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number' || typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return value.map(textual);
  if (typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, textual(part)]));
  return `<${typeof value}>`;
}

function kernelAttributes(kernel: Kernel): Readonly<Record<string, unknown>> {
  const { request, result, ports } = kernel;
  const { config, cluster } = request;
  return {
    ownership_data: {
      kernel_id: kernel.id,
      session_id: kernel.sessionId,
      agent_id: kernel.agentId,
      owner_user_id: config.ownerUserId,
      owner_project_id: config.ownerProjectId,
    },
    kernel_id: kernel.id,
    session_id: kernel.sessionId,
    agent_id: kernel.agentId,
    network_id: config.networkId,
    image: kernel.image,
    version: config.image.labels[KERNEL_SPEC_LABEL] ?? 1,
    resource_spec: {
      slots: kernel.allocation?.slots ?? {},
      allocations: kernel.allocation?.allocations ?? {},
      scratch_disk_size: result?.resourceSpec.scratchDiskSizeBytes ?? null,
      mounts: result?.resourceSpec.mounts ?? [],
    },
    service_ports: kernel.servicePorts.map(servicePort),
    data: {
      container_id: kernel.containerId,
      kernel_host: result?.kernelHost ?? null,
      repl_in_port: ports?.replIn ?? null,
      repl_out_port: ports?.replOut ?? null,
      stdin_port: 0,
      stdout_port: 0,
      host_ports: ports?.booked ?? [],
      domain_socket_proxies: config.internalData.domainSocketProxies,
      block_service_ports: config.internalData.blockServicePorts,
    },
    last_used: kernel.startedAtMs,
    termination_reason: kernel.termination?.reason ?? null,
    environ: withoutSecrets(config.environ),
    runner: kernel.endpoints && { repl_in: kernel.endpoints.replIn, repl_out: kernel.endpoints.replOut },
    container_id: kernel.containerId,
    state: kernel.state.name,
    session_type: config.sessionType,
    network_driver: cluster.networkConfig['mode'] ?? 'bridge',
  };
}

const servicePort = ({ name, protocol, containerPorts, hostPorts, isInference }: ServicePort) => ({
  name,
  protocol,
  container_ports: containerPorts,
  host_ports: hostPorts,
  is_inference: isInference,
});

const withoutSecrets = (environ: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(environ).map(([name, value]) => [name, isSecretName(name) ? REDACTED : value]),
  );

/** Device -> slot -> device id -> amount. */
function allocations(agent: Agent): Readonly<Record<string, Record<string, Record<string, string>>>> {
  const families = Object.entries(agent.resourceUsage().devices).map(([family, devices]) => {
    const slots: Record<string, Record<string, string>> = {};
    for (const [deviceId, { slotName, allocated }] of Object.entries(devices))
      (slots[slotName] ??= {})[deviceId] = allocated;
    return [family, slots] as const;
  });
  return Object.fromEntries(families);
}
