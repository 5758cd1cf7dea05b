import { isAbsolute, join, posix } from 'node:path';
import type { KernelLimits, KernelPlan, PlannedPort, ScratchPaths } from '../../backends/backend.js';
import { ValueError } from '../../core/errors.js';
import type { AgentId } from '../../core/ids.js';
import type { KernelPorts } from '../kernel.js';
import { DEFAULT_RUNTIME_TYPE, RUNTIME_TYPE_LABEL } from '../kernel-description.js';
import type { KernelCreationConfig, KernelCreationRequest, ResourceSpec, ServicePort } from '../requests.js';
import { planEnvironment, planIdentity } from './environment.js';
import type { LifecycleSettings } from './parts.js';
import { REPL_IN_PORT, REPL_OUT_PORT, SERVICE_PORTS_LABEL } from './service-ports.js';

const RUNTIME_PATH_LABEL = 'ai.backend.runtime-path';
const LOOPBACK = '127.0.0.1';
/** What container engines give when nobody asks. */
const DEFAULT_SHM_BYTES = 64 * 1024 * 1024;
const LOG_FOLDER = '.logs';
const INTRINSIC_TARGETS = { config: '/home/config', work: '/home/work' } as const;

/** What the plan is made of besides the request; every part of it is a value. */
export interface PlanFacts {
  readonly agentId: AgentId;
  readonly settings: Pick<LifecycleSettings, 'scratchRoot' | 'bindHost'>;
  /** The agent's kernel uid and gid, resolved. */
  readonly ownIdentity: { readonly uid: number | null; readonly gid: number | null };
  readonly limits: Omit<KernelLimits, 'shmBytes'>;
  /** Variables of the allocated devices. */
  readonly deviceEnvironment: Readonly<Record<string, string>>;
  /** What the allocated devices ask of a container engine. */
  readonly deviceArguments: Readonly<Record<string, unknown>>;
  readonly ports: KernelPorts;
  readonly services: readonly ServicePort[];
}

/**
 * From a request and what was allocated for it to everything that the backend must know. Pure.
 * @throws ValueError, naming the mount or variable that cannot be.
 */
export function planKernel(request: KernelCreationRequest, facts: PlanFacts): KernelPlan {
  const { config } = request;
  const identity = planIdentity(request, facts.ownIdentity);
  return {
    agentId: facts.agentId,
    kernelId: request.kernelId,
    sessionId: request.sessionId,
    imageCanonical: config.image.canonical,
    imageIsLocal: request.imageRef.isLocal,
    runtimeType: config.image.labels[RUNTIME_TYPE_LABEL] ?? DEFAULT_RUNTIME_TYPE,
    runtimePath: config.image.labels[RUNTIME_PATH_LABEL] ?? null,
    environment: planEnvironment(request, {
      identity,
      cpuCores: facts.limits.cpuCores.length,
      devices: facts.deviceEnvironment,
    }),
    scratch: scratchPaths(facts.settings.scratchRoot, request.kernelId),
    labels: planLabels(request, facts.agentId),
    hostname: config.clusterHostname,
    limits: {
      ...facts.limits,
      shmBytes:
        config.resourceOpts.shmemBytes === null ? DEFAULT_SHM_BYTES : Number(config.resourceOpts.shmemBytes),
    },
    identity,
    mounts: folderMounts(config).map(({ hostPath, kernelPath, permission }) => ({
      source: hostPath,
      target: kernelPath,
      permission: permission === 'ro' ? 'ro' : 'rw',
    })),
    isSudoEnabled: config.internalData.sudoSessionEnabled,
    deviceArguments: facts.deviceArguments,
    ports: planPorts(facts),
    ...planNetwork(request),
    replInPort: facts.ports.replIn,
    replOutPort: facts.ports.replOut,
  };
}

/** spec/kernel-lifecycle.md 2.8. */
export function scratchPaths(scratchRoot: string, kernelId: string): ScratchPaths {
  const root = join(scratchRoot, kernelId);
  return { root, config: join(root, 'config'), work: join(root, 'work') };
}

/** All mounts of the kernel as `resource.txt` and the creation result list them: scratch first, then folders. */
export function specMounts(config: KernelCreationConfig, scratch: ScratchPaths): ResourceSpec['mounts'] {
  return [
    { type: 'bind', source: scratch.config, target: INTRINSIC_TARGETS.config, permission: 'ro' },
    { type: 'bind', source: scratch.work, target: INTRINSIC_TARGETS.work, permission: 'rw' },
    ...folderMounts(config).map(
      ({ hostPath, kernelPath, permission }) =>
        ({ type: 'bind', source: hostPath, target: kernelPath, permission }) as const,
    ),
  ];
}

/**
 * `bridge` joins the network that the manager has had made; `host` shares the machine's. Without a mode, and on a mode
 * that needs a network plugin, which nothing here provides, it is the backend's default (spec/kernel-lifecycle.md 2.12).
 * @throws ValueError for a bridge without a name.
 */
function planNetwork({ cluster, config }: KernelCreationRequest): Pick<KernelPlan, 'network'> {
  const { mode, network_name: name } = cluster.networkConfig;
  if (mode === 'host') return { network: { mode: 'host', hosts: {} } };
  if (mode !== 'bridge') return {};
  if (typeof name !== 'string' || name === '')
    throw new ValueError('network_config: mode bridge needs network_name');
  return { network: { mode: 'named', name, aliases: [config.clusterHostname] } };
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

/** Everything that is published, the runner's two ports included; those only to this machine. */
function planPorts({ ports, services, settings }: PlanFacts): readonly PlannedPort[] {
  return [
    { name: 'replin', containerPort: REPL_IN_PORT, hostPort: ports.replIn, bindHost: LOOPBACK },
    { name: 'replout', containerPort: REPL_OUT_PORT, hostPort: ports.replOut, bindHost: LOOPBACK },
    ...services.flatMap(({ name, containerPorts, hostPorts }) =>
      containerPorts.flatMap((containerPort, index) => {
        const hostPort = hostPorts[index];
        return hostPort == null ? [] : [{ name, containerPort, hostPort, bindHost: settings.bindHost }];
      }),
    ),
  ];
}

/** spec/kernel-lifecycle.md 2.10; a target that something else occupies is an error here, not the engine's (9.1 C17). */
function folderMounts(config: KernelCreationConfig): KernelCreationConfig['mounts'] {
  const folders = config.internalData.preventVfolderMounts
    ? config.mounts.filter(({ name }) => name === LOG_FOLDER)
    : config.mounts;
  const targets = new Set<string>(Object.values(INTRINSIC_TARGETS));
  for (const { name, hostPath, kernelPath } of folders) {
    if (!isAbsolute(hostPath))
      throw new ValueError(
        `folder '${name}': Mount source must be an absolute path if it is not a volume name.`,
      );
    if (!posix.isAbsolute(kernelPath))
      throw new ValueError(`folder '${name}': Mount target must be an absolute path.`);
    const target = posix.join(kernelPath).replace(/(?<=.)\/+$/, '');
    if (target === '/' || targets.has(target))
      throw new ValueError(`folder '${name}': the mount target ${target} is already in use by another mount`);
    targets.add(target);
  }
  return folders;
}
