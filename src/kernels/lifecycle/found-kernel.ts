import { posix } from 'node:path';
import { z } from 'zod';
import type { KernelDetails, KernelHandle, RunnerEndpoints } from '../../backends/backend.js';
import { messageOf, ValueError } from '../../core/errors.js';
import type { KernelFacts } from '../kernel.js';
import type {
  ClusterInfo,
  KernelCreationRequest,
  ResourceSpec,
  ServicePort,
  VFolderMount,
} from '../requests.js';
import type { KernelAllocation } from './parts.js';
import {
  ENDPOINT_PORTS_LABEL,
  parseServicePorts,
  type PlannedService,
  REPL_IN_PORT,
  REPL_OUT_PORT,
  SERVICE_PORTS_LABEL,
} from './service-ports.js';

/** A running kernel that nobody has a record of; every part of it is a value. */
export interface FoundKernel {
  readonly handle: KernelHandle;
  readonly details: KernelDetails;
  readonly endpoints: RunnerEndpoints;
  /** What its `resource.txt` says. */
  readonly allocation: KernelAllocation;
  readonly mounts: ResourceSpec['mounts'];
  /** `environ.txt` and `cluster.json` of its scratch directory; null: absent. */
  readonly environ: string | null;
  readonly cluster: string | null;
}

const PERSISTENT_PATHS = 'BACKENDAI_PERSISTENT_PATHS';
/** Below the home directory, and no folder of the session (spec/kernel-lifecycle.md 2.9, 2.11). */
const NO_FOLDERS = ['samples', '.terminfo', 'DO_NOT_STORE_PERSISTENT_FILES_HERE.md'];

/**
 * The facts of a kernel from its labels, files and published ports (spec/kernel-lifecycle.md 9.3 R2). What only its
 * creation request said, such as the session's type, gets the default. Pure.
 * @throws ValueError naming what is missing or cannot be read.
 */
export function factsOfFound(
  found: FoundKernel,
  agent: { readonly architecture: string; readonly nowMs: number; readonly scratchRoot: string },
): KernelFacts {
  const { handle, details, endpoints, allocation } = found;
  const hostPortOf = portsOf(details);
  const [replIn, replOut] = [hostPortOf(REPL_IN_PORT), hostPortOf(REPL_OUT_PORT)];
  if (replIn === undefined || replOut === undefined)
    throw new ValueError('its container publishes no ports of a runner');
  const environment = found.environ === null ? details.environment : readEnviron(found.environ);
  const shmemBytes = details.shmBytes === null ? null : String(details.shmBytes);
  return {
    agentId: handle.agentId,
    request: requestOf(found, environment, agent.architecture),
    state: { name: 'running' },
    createdAtMs: details.createdAtMs ?? agent.nowMs,
    startedAtMs: details.createdAtMs ?? agent.nowMs,
    scratchRoot: agent.scratchRoot,
    allocation: { ...allocation, shmemBytes },
    ports: { replIn, replOut, booked: [...new Set(details.published.map(({ hostPort }) => hostPort))] },
    servicePorts: servicesOf(details),
    handle,
    endpoints,
    result: null,
    // By the agent that made it, or lost with that agent's outbox.
    startAnnounced: true,
    termination: null,
  };
}

const portsOf =
  ({ published }: KernelDetails) =>
  (containerPort: number): number | undefined =>
    published.find((port) => port.containerPort === containerPort)?.hostPort;

/** Those of the image that are published, and whatever else is. @throws ValueError for an unreadable label. */
function servicesOf(details: KernelDetails): readonly ServicePort[] {
  const hostPortOf = portsOf(details);
  const { labels, published } = details;
  const named: readonly PlannedService[] = [
    { name: 'sshd', protocol: 'tcp', containerPorts: [2200], isInference: false },
    { name: 'ttyd', protocol: 'http', containerPorts: [7681], isInference: false },
    ...parseServicePorts(labels[SERVICE_PORTS_LABEL] ?? '', labels[ENDPOINT_PORTS_LABEL] ?? ''),
  ];
  const services = named.filter(({ containerPorts }) =>
    containerPorts.some((port) => hostPortOf(port) !== undefined),
  );
  return [...services, ...furtherPorts(published, named)].map((service) => ({
    ...service,
    hostPorts: service.containerPorts.map((port) => hostPortOf(port) ?? null),
  }));
}

/** Published for the session's own use: ports that no label names. */
function furtherPorts(
  published: KernelDetails['published'],
  named: readonly PlannedService[],
): readonly PlannedService[] {
  const known = new Set([
    REPL_IN_PORT,
    REPL_OUT_PORT,
    ...named.flatMap(({ containerPorts }) => [...containerPorts]),
  ]);
  return published
    .filter(({ containerPort }) => !known.has(containerPort))
    .map(({ containerPort }, index) => ({
      name: `hostport${String(index + 1)}`,
      protocol: 'internal',
      containerPorts: [containerPort],
      isInference: false,
    }));
}

function requestOf(
  found: FoundKernel,
  environment: Readonly<Record<string, string>>,
  architecture: string,
): KernelCreationRequest {
  const { handle, details, allocation } = found;
  const { labels } = details;
  const canonical = details.image ?? '';
  const hostname = environment['BACKENDAI_CLUSTER_HOST'] ?? details.hostname ?? 'main1';
  const named = parseServicePorts(labels[SERVICE_PORTS_LABEL] ?? '', '');
  return {
    sessionId: handle.sessionId,
    kernelId: handle.kernelId,
    imageRef: { canonical, architecture, isLocal: false },
    cluster: clusterOf(found, environment),
    config: {
      image: {
        canonical,
        digest: '',
        architecture,
        isLocal: false,
        autoPull: 'none',
        registry: null,
        project: null,
        // Pre-opened ports are part of the container's label.
        labels,
      },
      networkId: '',
      sessionType: 'interactive',
      clusterRole: environment['BACKENDAI_CLUSTER_ROLE'] ?? 'main',
      clusterHostname: hostname,
      uid: numberOf(environment['LOCAL_USER_ID']),
      mainGid: numberOf(environment['LOCAL_GROUP_ID']),
      supplementaryGids: (environment['ADDITIONAL_GIDS'] ?? '')
        .split(',')
        .flatMap((text) => numberOf(text) ?? []),
      resourceSlots: allocation.slots,
      resourceOpts: {
        shmemBytes: details.shmBytes === null ? null : BigInt(details.shmBytes),
        allowFractionalResourceFragmentation: true,
      },
      environ: environment,
      mounts: foldersOf(found.mounts, environment[PERSISTENT_PATHS]),
      internalData: {
        dotfiles: [],
        sshKeypair: null,
        dockerCredentials: null,
        domainSocketProxies: [],
        blockServicePorts: labels['ai.backend.internal.block-service-ports'] === '1',
        sudoSessionEnabled: false,
        preventVfolderMounts: false,
      },
      preopenPorts: [],
      allocatedHostPorts: furtherPorts(details.published, [
        { name: 'sshd', protocol: 'tcp', containerPorts: [2200, 7681], isInference: false },
        ...named,
      ]).flatMap(({ containerPorts }) => [...containerPorts]),
      bootstrapScript: null,
      scalingGroup: '',
      agentAddr: '',
      ownerUserId: labels['ai.backend.owner-user-id'] || null,
      ownerProjectId: labels['ai.backend.owner-project-id'] || null,
    },
  };
}

/** The session's folders among all mounts: by the list that newer managers' kernels have, or by where they are. */
function foldersOf(mounts: ResourceSpec['mounts'], listed: string | undefined): readonly VFolderMount[] {
  const paths = listed === undefined ? null : new Set(listed.split(':'));
  return mounts.flatMap(({ type, source, target, permission }) => {
    const inside = posix.relative('/home/work', target);
    const isFolder = paths
      ? paths.has(target)
      : inside !== '' && !inside.startsWith('..') && !NO_FOLDERS.includes(inside);
    if (type !== 'bind' || source === null || !isFolder) return [];
    const name = posix.basename(target);
    return [
      {
        name,
        vfid: '',
        vfsubpath: '.',
        hostPath: source,
        kernelPath: target,
        permission,
        usageMode: 'general',
      },
    ];
  });
}

const keypair = z
  .object({ public_key: z.string(), private_key: z.string() })
  .transform(({ public_key: publicKey, private_key: privateKey }) => ({ publicKey, privateKey }));
const clusterSchema = z.object({
  mode: z.string().default('single-node'),
  size: z.int().default(1),
  replicas: z.record(z.string(), z.int()).default({ main: 1 }),
  network_config: z
    .record(z.string(), z.unknown())
    .nullish()
    .transform((value) => value ?? {}),
  ssh_keypair: keypair.nullish().transform((value) => value ?? null),
  cluster_ssh_port_mapping: z
    .record(z.string(), z.tuple([z.string(), z.int()]))
    .nullish()
    .transform((value) => value ?? null),
});

/** @throws ValueError for a file that cannot be read. */
function clusterOf(
  { cluster, details }: FoundKernel,
  environment: Readonly<Record<string, string>>,
): ClusterInfo {
  if (cluster !== null) {
    const { network_config, ssh_keypair, cluster_ssh_port_mapping, ...rest } = parseCluster(cluster);
    return {
      ...rest,
      networkConfig: network_config,
      sshKeypair: ssh_keypair,
      clusterSshPortMapping: cluster_ssh_port_mapping,
    };
  }
  const { network } = details;
  return {
    mode: 'single-node',
    size: numberOf(environment['BACKENDAI_CLUSTER_SIZE']) ?? 1,
    replicas: Object.fromEntries(
      (environment['BACKENDAI_CLUSTER_REPLICAS'] ?? 'main:1').split(',').map((text) => {
        const [role = '', count] = text.split(':');
        return [role, numberOf(count) ?? 1];
      }),
    ),
    networkConfig:
      network === null
        ? {}
        : network === 'host'
          ? { mode: 'host' }
          : { mode: 'bridge', network_name: network },
    sshKeypair: null,
    clusterSshPortMapping: null,
  };
}

function parseCluster(text: string): z.infer<typeof clusterSchema> {
  try {
    return clusterSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new ValueError(`its cluster.json cannot be read: ${messageOf(error)}`);
  }
}

const readEnviron = (text: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    text.split('\n').flatMap((line) => {
      const equals = line.indexOf('=');
      return equals <= 0 ? [] : [[line.slice(0, equals), line.slice(equals + 1)]];
    }),
  );

const numberOf = (text: string | undefined): number | null =>
  text !== undefined && /^\d+$/.test(text) ? Number(text) : null;
