import type { KernelLimits, KernelPlan, PlannedNetwork, PlannedPort } from '../../backends/backend.js';
import { ValueError } from '../../core/errors.js';
import type { AgentId } from '../../core/ids.js';
import type { KernelPorts } from '../kernel.js';
import { DEFAULT_RUNTIME_TYPE, RUNTIME_TYPE_LABEL } from '../kernel-description.js';
import type { Model } from '../models/definition.js';
import { modelEnvironment } from '../models/needs.js';
import type { KernelCreationRequest, ServicePort } from '../requests.js';
import { planEnvironment, planIdentity } from './environment.js';
import type { DeviceNeeds, LifecycleSettings } from './parts.js';
import { containerMounts, hookEnvironment, planFolders, planRelays, scratchPaths } from './plan-mounts.js';
import { REPL_IN_PORT, REPL_OUT_PORT, SERVICE_PORTS_LABEL } from './service-ports.js';

export { scratchPaths, specMounts } from './plan-mounts.js';

const RUNTIME_PATH_LABEL = 'ai.backend.runtime-path';
const LOOPBACK = '127.0.0.1';
/** What container engines give when nobody asks. */
const DEFAULT_SHM_BYTES = 64 * 1024 * 1024;

export type PlanSettings = Pick<
  LifecycleSettings,
  'scratchRoot' | 'scratchType' | 'bindHost' | 'protectedServices' | 'alternativeBridge' | 'socketDirectory'
>;

/** What the plan is made of besides the request; every part of it is a value. */
export interface PlanFacts {
  readonly agentId: AgentId;
  readonly settings: PlanSettings;
  /** The agent's kernel uid and gid, resolved. */
  readonly ownIdentity: { readonly uid: number | null; readonly gid: number | null };
  readonly limits: Omit<KernelLimits, 'shmBytes'>;
  /** Variables of the allocated devices. */
  readonly deviceEnvironment: Readonly<Record<string, string>>;
  /** What the allocated devices ask of a container engine. */
  readonly deviceArguments: Readonly<Record<string, unknown>>;
  readonly deviceNeeds: DeviceNeeds;
  readonly ports: KernelPorts;
  readonly services: readonly ServicePort[];
  /** What the kernel serves. Absent: nothing. */
  readonly models?: readonly Model[];
  /** Of the kernel's session. Absent or null: it has none. */
  readonly network?: PlannedNetwork | null;
}

/**
 * From a request and what was allocated for it to everything that the backend must know. Pure.
 * @throws ValueError, naming the mount, variable or port that cannot be.
 */
export function planKernel(request: KernelCreationRequest, facts: PlanFacts): KernelPlan {
  const { config } = request;
  const { settings, deviceNeeds: needs } = facts;
  const identity = planIdentity(request, facts.ownIdentity, needs.gids);
  const environment = planEnvironment(request, {
    identity,
    cpuCores: facts.limits.cpuCores.length,
    devices: facts.deviceEnvironment,
  });
  return {
    agentId: facts.agentId,
    kernelId: request.kernelId,
    sessionId: request.sessionId,
    imageCanonical: config.image.canonical,
    imageIsLocal: request.imageRef.isLocal,
    runtimeType: config.image.labels[RUNTIME_TYPE_LABEL] ?? DEFAULT_RUNTIME_TYPE,
    runtimePath: config.image.labels[RUNTIME_PATH_LABEL] ?? null,
    environment: {
      ...environment,
      ...modelEnvironment(facts.models ?? [], config.environ),
      ...hookEnvironment(needs.hooks, environment['LD_PRELOAD']),
    },
    scratch: scratchPaths(settings.scratchRoot, request.kernelId, settings.scratchType),
    labels: planLabels(request, facts.agentId),
    hostname: config.clusterHostname,
    limits: {
      ...facts.limits,
      shmBytes:
        config.resourceOpts.shmemBytes === null ? DEFAULT_SHM_BYTES : Number(config.resourceOpts.shmemBytes),
    },
    identity,
    mounts: planFolders(config),
    containerMounts: containerMounts(planRelays(request, settings.socketDirectory), needs),
    isSudoEnabled: config.internalData.sudoSessionEnabled,
    deviceArguments: facts.deviceArguments,
    deviceNetworks: needs.networks,
    allowedSyscalls: needs.syscalls,
    ports: planPorts(facts),
    ...(facts.network ? { network: facts.network } : {}),
    ...(settings.alternativeBridge == null ? {} : { alternativeBridge: settings.alternativeBridge }),
    replInPort: facts.ports.replIn,
    replOutPort: facts.ports.replOut,
  };
}

/** Image labels are inherited by the container; these are the agent's own (spec/kernel-lifecycle.md 2.16.2). */
function planLabels(request: KernelCreationRequest, agentId: AgentId): Readonly<Record<string, string>> {
  const { config } = request;
  const servicePorts = [
    config.image.labels[SERVICE_PORTS_LABEL] ?? '',
    ...config.preopenPorts.map((port) => `${String(port)}:preopen:${String(port)}`),
  ];
  return {
    'ai.backend.kernel-id': request.kernelId,
    'ai.backend.session-id': request.sessionId,
    'ai.backend.owner': agentId,
    'ai.backend.agent-id': agentId,
    'ai.backend.owner-user-id': config.ownerUserId ?? '',
    'ai.backend.owner-project-id': config.ownerProjectId ?? '',
    'ai.backend.internal.block-service-ports': config.internalData.blockServicePorts ? '1' : '0',
    [SERVICE_PORTS_LABEL]: servicePorts.filter((text) => text !== '').join(','),
  };
}

/**
 * Everything that is published, the runner's two ports included; those, and what is protected, only to this machine.
 * @throws ValueError for a port that is there twice (9.1 C13).
 */
function planPorts({ ports, services, settings }: PlanFacts): readonly PlannedPort[] {
  const { bindHost, protectedServices = [] } = settings;
  const planned = [
    { name: 'replin', containerPort: REPL_IN_PORT, hostPort: ports.replIn, bindHost: LOOPBACK },
    { name: 'replout', containerPort: REPL_OUT_PORT, hostPort: ports.replOut, bindHost: LOOPBACK },
    ...services.flatMap(({ name, containerPorts, hostPorts }) =>
      containerPorts.flatMap((containerPort, index) => {
        const hostPort = hostPorts[index];
        if (hostPort == null) return [];
        return [
          { name, containerPort, hostPort, bindHost: protectedServices.includes(name) ? LOOPBACK : bindHost },
        ];
      }),
    ),
  ];
  for (const [index, { name, containerPort, hostPort }] of planned.entries()) {
    const before = planned.slice(0, index);
    if (before.some((other) => other.containerPort === containerPort))
      throw new ValueError(`port ${String(containerPort)} of ${name} is a port of another service, too`);
    if (before.some((other) => other.hostPort === hostPort))
      throw new ValueError(`host port ${String(hostPort)} of ${name} is a host port of another service, too`);
  }
  return planned;
}
