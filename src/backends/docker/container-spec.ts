import { isAbsolute, posix } from 'node:path';
import type { ContainerCreateOptions, HostConfig, MountSettings, PortMap } from 'dockerode';
import type { KernelPlan, PlannedMount } from '../backend.js';
import { HOME } from '../files/work-tree.js';
import { REPL_IN_PORT, REPL_OUT_PORT } from './kernel-labels.js';
import { mergeOptions } from './merge-options.js';

/** Everything of a container but its name. */
export type ContainerSpec = Omit<ContainerCreateOptions, 'name' | 'abortSignal'>;

/** Where the runner volume is in every kernel. */
export const RUNNER_HOME = '/opt/kernel';
const CONFIG_HOME = '/home/config';
const LOOPBACK = '127.0.0.1';
const NOFILE = 1_048_576;
const LOG_FILES = 5;
const MIB = 1024 * 1024;

/** Null: unlimited. */
export interface ResourceLimit {
  readonly soft: number | null;
  readonly hard: number | null;
}

/** What a container is made of besides the plan; every part of it is a value. */
export interface ContainerSettings {
  readonly runner: {
    /** Of this machine, with the bundled loader `loader` in it. */
    readonly directory: string;
    readonly loader: string;
  };
  /** Whom the kernel belongs to when the plan does not say. */
  readonly ownIdentity: { readonly uid: number; readonly gid: number };
  /** This process's own limits: nothing higher can be given to a container (spec/kernel-lifecycle.md 9.1 C16). */
  readonly ownLimits: { readonly nofile: ResourceLimit; readonly memlock: ResourceLimit };
  /** Files of this machine that every kernel sees (spec/kernel-lifecycle.md 2.9). */
  readonly hostMounts: readonly PlannedMount[];
  /** Devices of this machine that every kernel gets, such as `/dev/infiniband`. */
  readonly hostDevices: readonly string[];
  readonly logs: { readonly driver: 'local' | 'json-file'; readonly maxBytes: number };
  readonly hardening: Hardening;
  /** Most processes and threads of one kernel; null: as many as the engine allows. */
  readonly pidsLimit: number | null;
  /** A seccomp profile as JSON text; null: the engine's own. */
  readonly seccompProfile: string | null;
  /** Network of kernels whose plan names none; null: the engine's default bridge. */
  readonly defaultNetwork: string | null;
  /** Merged over everything else, in this order: the operator's `agent-docker-container-opts.json`. */
  readonly overrides: readonly Readonly<Record<string, unknown>>[];
}

/**
 * `original`: capabilities and privileges as the original gives them. `strict`: no capability but those that the
 * original adds, and no way to gain privileges, so no sudo either.
 */
export type Hardening = 'original' | 'strict';

/** `kernel.<last part of the image's name>.<kernel id>`; others read the kernel's id from it. */
export function containerNameOf(plan: KernelPlan): string {
  const image = plan.imageCanonical.replace(/@.*$/, '').replace(/:[^:/]*$/, '');
  const name = posix.basename(image).replace(/[^a-zA-Z0-9_.-]/g, '-');
  return `kernel.${name === '' ? 'image' : name}.${plan.kernelId}`;
}

/** The container as the engine is asked for it (spec/kernel-lifecycle.md 2.16). Pure. */
export function containerSpecOf(
  plan: KernelPlan,
  labels: Readonly<Record<string, string>>,
  settings: ContainerSettings,
): ContainerSpec {
  const { runner } = settings;
  const uid = plan.identity.uid ?? settings.ownIdentity.uid;
  const gid = plan.identity.gid ?? (plan.identity.uid === null ? settings.ownIdentity.gid : uid);
  const network = plan.network;
  const spec: ContainerSpec = {
    Image: plan.imageCanonical,
    Tty: true,
    OpenStdin: true,
    StopSignal: 'SIGINT',
    ExposedPorts: Object.fromEntries(publishedPorts(plan).map(({ inside }) => [inside, {}])),
    Entrypoint: [
      `${RUNNER_HOME}/${runner.loader}`,
      ...['--library-path', `${RUNNER_HOME}/lib`],
      `${RUNNER_HOME}/node`,
      ...['--import', `${RUNNER_HOME}/exec-path.mjs`],
      `${RUNNER_HOME}/kernel-runner.mjs`,
    ],
    Cmd: runnerArguments(plan),
    Env: Object.entries(plan.environment).map(([name, value]) => `${name}=${value}`),
    User: `${String(uid)}:${String(gid)}`,
    WorkingDir: HOME,
    // With the machine's network comes the machine's name.
    ...(network?.mode === 'host' ? {} : { Hostname: plan.hostname }),
    Labels: { ...labels },
    HostConfig: hostConfigOf(plan, settings),
    ...(network?.mode === 'named'
      ? { NetworkingConfig: { EndpointsConfig: { [network.name]: { Aliases: [...network.aliases] } } } }
      : {}),
  };
  return settings.overrides.reduce<ContainerSpec>((merged, extra) => mergeOptions(merged, extra), spec);
}

/** What the engine gives the container of the machine: limits, mounts, ports, privileges. Pure. */
export function hostConfigOf(plan: KernelPlan, settings: ContainerSettings): HostConfig {
  const { limits, network } = plan;
  return {
    Init: true,
    Privileged: false,
    PublishAllPorts: false,
    ...(network?.mode === 'host' ? {} : { PortBindings: portBindingsOf(plan) }),
    CapAdd: ['IPC_LOCK', 'SYS_NICE'],
    ...(settings.hardening === 'strict' ? { CapDrop: ['ALL'] } : {}),
    SecurityOpt: securityOptionsOf(settings),
    Ulimits: [
      cappedUlimit('nofile', NOFILE, settings.ownLimits.nofile),
      cappedUlimit('memlock', null, settings.ownLimits.memlock),
    ],
    LogConfig: logConfigOf(settings.logs),
    Mounts: mountsOf(plan, settings),
    GroupAdd: plan.identity.supplementaryGids.map(String),
    Devices: settings.hostDevices.map((path) => ({
      PathOnHost: path,
      PathInContainer: path,
      CgroupPermissions: 'rwm',
    })),
    ...(settings.pidsLimit === null ? {} : { PidsLimit: settings.pidsLimit }),
    ...(limits.cpuCores.length === 0 ? {} : { CpusetCpus: coreList(limits.cpuCores) }),
    // Equal, so that no swap is used.
    ...(limits.memoryBytes > 0 ? { Memory: limits.memoryBytes, MemorySwap: limits.memoryBytes } : {}),
    ...(limits.shmBytes > 0 ? { ShmSize: limits.shmBytes } : {}),
    ...networkOf(plan, settings),
  };
}

function runnerArguments(plan: KernelPlan): string[] {
  // With the machine's own network nothing is translated, and nobody outside may reach the runner.
  const [replIn, replOut] =
    plan.network?.mode === 'host'
      ? [`tcp://${LOOPBACK}:${String(plan.replInPort)}`, `tcp://${LOOPBACK}:${String(plan.replOutPort)}`]
      : [`tcp://*:${String(REPL_IN_PORT)}`, `tcp://*:${String(REPL_OUT_PORT)}`];
  return [
    ...['--repl-in', replIn, '--repl-out', replOut],
    ...['--runtime', plan.runtimeType],
    ...(plan.runtimePath === null ? [] : ['--runtime-path', plan.runtimePath]),
    ...['--work', HOME, '--config', CONFIG_HOME],
  ];
}

interface PublishedPort {
  /** As the engine writes it: `2000/tcp`. */
  readonly inside: string;
  readonly host: string;
  readonly bindHost: string;
}

/** The runner's two, only for this machine, and those of the services. */
function publishedPorts(plan: KernelPlan): readonly PublishedPort[] {
  const published = (containerPort: number, hostPort: number, bindHost: string): PublishedPort => ({
    inside: `${String(containerPort)}/tcp`,
    host: String(hostPort),
    bindHost,
  });
  return [
    published(REPL_IN_PORT, plan.replInPort, LOOPBACK),
    published(REPL_OUT_PORT, plan.replOutPort, LOOPBACK),
    ...plan.ports
      .filter(({ containerPort }) => containerPort !== REPL_IN_PORT && containerPort !== REPL_OUT_PORT)
      .map(({ containerPort, hostPort, bindHost }) => published(containerPort, hostPort, bindHost)),
  ];
}

function portBindingsOf(plan: KernelPlan): PortMap {
  const bindings: PortMap = {};
  for (const { inside, host, bindHost } of publishedPorts(plan))
    (bindings[inside] ??= []).push({ HostPort: host, HostIp: bindHost });
  return bindings;
}

function mountsOf(plan: KernelPlan, { runner, hostMounts }: ContainerSettings): MountSettings[] {
  const mounts: readonly PlannedMount[] = [
    { source: plan.scratch.config, target: CONFIG_HOME, permission: 'ro' },
    { source: plan.scratch.work, target: HOME, permission: 'rw' },
    ...hostMounts,
    ...plan.mounts,
    { source: runner.directory, target: RUNNER_HOME, permission: 'ro' },
  ];
  return mounts.map(({ source, target, permission }) => ({
    Type: isAbsolute(source) ? 'bind' : 'volume',
    Source: source,
    Target: target,
    ReadOnly: permission === 'ro',
  }));
}

function securityOptionsOf({ hardening, seccompProfile }: ContainerSettings): string[] {
  return [
    ...(seccompProfile === null ? [] : [`seccomp=${seccompProfile}`]),
    ...(hardening === 'strict' ? ['no-new-privileges:true'] : []),
  ];
}

function networkOf(plan: KernelPlan, settings: ContainerSettings): Partial<HostConfig> {
  const { network } = plan;
  if (network?.mode === 'host')
    return {
      NetworkMode: 'host',
      ExtraHosts: Object.entries(network.hosts).map(([name, address]) => `${name}:${address}`),
    };
  const name = network?.name ?? settings.defaultNetwork;
  return name === null ? {} : { NetworkMode: name };
}

/** Rotated files, all together of about `maxBytes`. */
function logConfigOf({ driver, maxBytes }: ContainerSettings['logs']): HostConfig['LogConfig'] {
  return {
    Type: driver,
    Config: {
      'max-size': shortSize(Math.max(1, Math.floor(maxBytes / LOG_FILES))),
      'max-file': String(LOG_FILES),
      compress: 'false',
    },
  };
}

const shortSize = (bytes: number): string =>
  bytes % MIB === 0
    ? `${String(bytes / MIB)}m`
    : bytes % 1024 === 0
      ? `${String(bytes / 1024)}k`
      : String(bytes);

/** Never above what this process has itself; `wanted` null: unlimited. */
function cappedUlimit(name: string, wanted: number | null, own: ResourceLimit) {
  const capped = (limit: number | null) =>
    limit === null ? (wanted ?? -1) : wanted === null ? limit : Math.min(wanted, limit);
  return { Name: name, Soft: capped(own.soft), Hard: capped(own.hard) };
}

const coreList = (cores: readonly number[]): string => [...cores].sort((a, b) => a - b).join(',');
