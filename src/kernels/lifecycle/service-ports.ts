import type { KernelBackend } from '../../backends/backend.js';
import { ValueError } from '../../core/errors.js';
import { ServicePortError } from '../errors.js';
import { isOnHostNetwork } from '../networks/built-in.js';
import type { RunnerApp } from './parts.js';
import type { KernelCreationConfig, KernelCreationRequest, ServicePort } from '../requests.js';

/** spec/kernel-lifecycle.md 1.5. */
export const SERVICE_PORTS_LABEL = 'ai.backend.service-ports';
export const ENDPOINT_PORTS_LABEL = 'ai.backend.endpoint-ports';

/** Where the runner listens inside the container. */
export const REPL_IN_PORT = 2000;
export const REPL_OUT_PORT = 2001;

const BUILT_IN: readonly PlannedService[] = [
  { name: 'sshd', protocol: 'tcp', containerPorts: [2200], isInference: false },
  { name: 'ttyd', protocol: 'http', containerPorts: [7681], isInference: false },
];
const RESERVED_IN_IMAGES: ReadonlySet<number> = new Set([2000, 2001, 2002, 2003, 2200, 7681]);
/** Of the kernel that speaks for its cluster. */
export const MAIN_ROLES: ReadonlySet<string> = new Set(['main', 'master']);

/** A service before it has host ports. */
export type PlannedService = Pick<ServicePort, 'name' | 'protocol' | 'containerPorts' | 'isInference'>;

/** `name:protocol:port` or `name:protocol:[port,port]`, separated by commas outside brackets. */
const ENTRY = /^(?<name>[\w-]+):(?<protocol>\w+):(?:(?<port>\d+)|\[(?<ports>\s*\d+(?:\s*,\s*\d+)*\s*)\])$/;
const SEPARATOR = /,(?![^[]*\])/;
const IMAGE_PROTOCOLS: ReadonlySet<string> = new Set(['http', 'tcp', 'preopen', 'internal', 'vnc', 'rdp']);

/**
 * Reads the labels of an image. Entries of protocol `pty` are of the past and passed over.
 * @throws ValueError naming the entry that is wrong.
 */
export function parseServicePorts(label: string, endpointLabel: string): readonly PlannedService[] {
  const endpoints = new Set(splitNames(endpointLabel));
  const taken = new Set<number>();
  const services: PlannedService[] = [];
  for (const entry of label.split(SEPARATOR).map((text) => text.trim())) {
    if (entry === '') continue;
    const groups = ENTRY.exec(entry)?.groups;
    if (!groups)
      throw new ValueError(`${SERVICE_PORTS_LABEL}: '${entry}' is not of the form name:protocol:port`);
    const { name = '', protocol = '' } = groups;
    if (protocol === 'pty') continue;
    if (!isImageProtocol(protocol))
      throw new ValueError(
        `${SERVICE_PORTS_LABEL}: unsupported service port protocol '${protocol}' in '${entry}'`,
      );
    const containerPorts = (groups['port'] ?? groups['ports'] ?? '').split(',').map(Number);
    for (const port of containerPorts) {
      if (port <= 1024 || port >= 65535)
        throw new ValueError(
          `${SERVICE_PORTS_LABEL}: port ${String(port)} of '${name}' must be above 1024 and below 65535`,
        );
      if (RESERVED_IN_IMAGES.has(port))
        throw new ValueError(
          `${SERVICE_PORTS_LABEL}: port ${String(port)} of '${name}' is reserved for internal use`,
        );
      if (taken.has(port))
        throw new ValueError(`${SERVICE_PORTS_LABEL}: port ${String(port)} of '${name}' is there already`);
      taken.add(port);
    }
    services.push({ name, protocol, containerPorts, isInference: endpoints.has(name) });
  }
  return services;
}

/**
 * All services of one kernel, in the order in which they get host ports (spec/kernel-lifecycle.md 2.13).
 * @throws ServicePortError for a port that is reserved or wanted twice; ValueError for a bad label.
 */
export function planServices(
  config: KernelCreationConfig,
  /** Of the models that it serves. */
  inference: readonly PlannedService[] = [],
): readonly PlannedService[] {
  const services: PlannedService[] = [...BUILT_IN];
  if (!MAIN_ROLES.has(config.clusterRole)) return services;
  const owners = new Map(
    BUILT_IN.flatMap(({ name, containerPorts }) => containerPorts.map((p) => [p, name])),
  );
  const add = (service: PlannedService) => {
    for (const port of service.containerPorts) {
      if (port === REPL_IN_PORT || port === REPL_OUT_PORT)
        throw new ServicePortError('Port 2000 and 2001 are reserved for internal use');
      if (!Number.isInteger(port) || port < 1 || port > 65535)
        throw new ServicePortError(`Port ${String(port)} of service ${service.name} is not a port number`);
      const owner = owners.get(port);
      if (owner !== undefined)
        throw new ServicePortError(
          BUILT_IN.some(({ name }) => name === owner)
            ? `Port ${String(port)} overlaps with built-in service ${owner}`
            : `Port ${String(port)} of service ${service.name} overlaps with service ${owner}`,
        );
      owners.set(port, service.name);
    }
    services.push(service);
  };
  for (const port of config.preopenPorts)
    add({ name: String(port), protocol: 'preopen', containerPorts: [port], isInference: false });
  const { labels } = config.image;
  parseServicePorts(labels[SERVICE_PORTS_LABEL] ?? '', labels[ENDPOINT_PORTS_LABEL] ?? '').forEach(add);
  config.allocatedHostPorts.forEach((port, index) => {
    add({
      name: `hostport${String(index + 1)}`,
      protocol: 'internal',
      containerPorts: [port],
      isInference: false,
    });
  });
  inference.forEach(add);
  return services;
}

/**
 * The host port of a kernel's SSH that the manager got by `assign_port`, if it did. Kernels are named there by their host
 * name or, as managers 26.9 do, by `node-<kernel id>`.
 */
export function clusterSshPort({ kernelId, config, cluster }: KernelCreationRequest): number | undefined {
  const mapping = cluster.clusterSshPortMapping ?? {};
  return (mapping[config.clusterHostname] ?? mapping[`node-${kernelId}`])?.[1];
}

/** Nobody starts these, so nobody can tell them where to listen. */
const SELF_STARTED: ReadonlySet<string> = new Set(['preopen', 'internal']);

/**
 * Ports that do not come from the pool, by service: the SSH port of a cluster, and on the machine's own network those
 * of all services that cannot be told to listen elsewhere (spec/kernel-lifecycle.md 2.14).
 */
export function fixedPorts(
  services: readonly PlannedService[],
  facts: {
    readonly sshPort: number | undefined;
    /** The session's network is the machine's: what an image starts listens where the image says. */
    readonly isOnHost: boolean;
    /** The backend has no other network, and tells each service that it starts its host port. */
    readonly isToldHostPorts: boolean;
  },
): FixedPorts {
  const fixed = new Map<string, readonly number[]>();
  for (const { name, protocol, containerPorts } of services) {
    if (BUILT_IN.some((builtIn) => builtIn.name === name)) continue;
    if (facts.isToldHostPorts ? SELF_STARTED.has(protocol) : facts.isOnHost) fixed.set(name, containerPorts);
  }
  if (facts.sshPort !== undefined) fixed.set('sshd', [facts.sshPort]);
  return fixed;
}

/** Of a kernel's services, by what the manager says of its cluster and network. */
export function fixedPortsOf(
  request: KernelCreationRequest,
  services: readonly PlannedService[],
  backend: Pick<KernelBackend, 'isOnHostNetwork'>,
): FixedPorts {
  return fixedPorts(services, {
    sshPort: clusterSshPort(request),
    isOnHost: isOnHostNetwork(request),
    isToldHostPorts: backend.isOnHostNetwork ?? false,
  });
}

/** Service name -> host ports, one for each container port. */
export type FixedPorts = ReadonlyMap<string, readonly number[]>;

/** Gives every container port a host port, in order; `fixed` ones come from elsewhere and are not taken off the list. */
export function withHostPorts(
  services: readonly PlannedService[],
  hostPorts: readonly number[],
  fixed: FixedPorts,
): readonly ServicePort[] {
  const free = [...hostPorts];
  return services.map((service) => ({
    ...service,
    hostPorts: service.containerPorts.map((_, index) => {
      const port = fixed.get(service.name)?.[index] ?? free.shift();
      if (port === undefined)
        throw new ServicePortError(
          `no host port is left for service ${service.name}: fewer were taken than needed`,
        );
      return port;
    }),
  }));
}

/** Host ports to take from the pool, the two of the runner not counted. */
export function countHostPorts(services: readonly PlannedService[], fixed: FixedPorts): number {
  return services.reduce(
    (sum, { name, containerPorts }) => sum + (fixed.has(name) ? 0 : containerPorts.length),
    0,
  );
}

/** Adds what the runner says of its apps; the image's protocol stays (spec/kernel-lifecycle.md 2.17). */
export function mergeApps(
  services: readonly ServicePort[],
  apps: readonly RunnerApp[],
): readonly ServicePort[] {
  const byName = new Map(apps.map((app) => [app.name, app]));
  return services.map((service) => {
    const app = byName.get(service.name);
    if (!app) return service;
    return {
      ...service,
      ...(app.urlTemplate === undefined ? {} : { urlTemplate: app.urlTemplate }),
      ...(app.allowedArguments === undefined ? {} : { allowedArguments: app.allowedArguments }),
      ...(app.allowedEnvs === undefined ? {} : { allowedEnvs: app.allowedEnvs }),
    };
  });
}

/** What managers and clients are told of (spec/rpc-functions.md 3.7.1). */
export function publicServices(services: readonly ServicePort[]): readonly ServicePort[] {
  return services.filter(({ protocol }) => protocol !== 'internal');
}

function isImageProtocol(text: string): text is ServicePort['protocol'] {
  return IMAGE_PROTOCOLS.has(text);
}

function splitNames(label: string): readonly string[] {
  return label
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}
