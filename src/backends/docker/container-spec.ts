import { posix } from 'node:path';
import type { ContainerCreateOptions, HostConfig } from 'dockerode';
import type { KernelPlan, PlannedMount } from '../backend.js';
import { HOME } from '../files/work-tree.js';
import { mountsOf, SAMPLES_MOUNT } from './container-mounts.js';
import { hasOwnPorts, mpiVariables, networkOf } from './container-networks.js';
import { exposedPortsOf, portBindingsOf } from './container-ports.js';
import { isUserFixed, securityOf, type SecuritySettings } from './container-security.js';
import { mergeOptions } from './merge-options.js';
import { ownRunnerStart, type OwnRunner, type RunnerStart } from './runner-start.js';

/** Everything of a container but its name. */
export type ContainerSpec = Omit<ContainerCreateOptions, 'name' | 'abortSignal'>;

const NOFILE = 1_048_576;
const LOG_FILES = 5;
const MIB = 1024 * 1024;

/** Null: unlimited. */
export interface ResourceLimit {
  readonly soft: number | null;
  readonly hard: number | null;
}

/** What a container is made of besides the plan; every part of it is a value. */
export interface ContainerSettings extends SecuritySettings {
  readonly runner: OwnRunner;
  /** What starts instead of our runner; absent: ours. */
  readonly originalRunner?: RunnerStart;
  /** This process's own. */
  readonly ownIdentity: { readonly uid: number; readonly gid: number };
  /** This process's own limits: nothing higher can be given to a container (spec/kernel-lifecycle.md 9.1 C16). */
  readonly ownLimits: { readonly nofile: ResourceLimit; readonly memlock: ResourceLimit };
  /** Files of this machine that every kernel sees (spec/kernel-lifecycle.md 2.9). */
  readonly hostMounts: readonly PlannedMount[];
  /** Devices of this machine that every kernel gets, such as `/dev/infiniband`. */
  readonly hostDevices: readonly string[];
  readonly logs: { readonly driver: 'local' | 'json-file'; readonly maxBytes: number };
  /** Merged over everything else, in this order: the operator's `agent-docker-container-opts.json`. */
  readonly overrides: readonly Readonly<Record<string, unknown>>[];
}

/** What the engine has at the moment, as far as this kernel is concerned. */
export interface EngineFacts {
  /** There are samples, and the image is one for them. */
  readonly hasSamples: boolean;
  /** Of the bridge of a swarm; null: there is none. */
  readonly gatewaySubnet: string | null;
}

const NO_FACTS: EngineFacts = { hasSamples: false, gatewaySubnet: null };

/** `kernel.<last part of the image's name>.<kernel id>`; others read the kernel's id from it. */
export function containerNameOf(plan: KernelPlan): string {
  const image = plan.imageCanonical.replace(/@.*$/, '').replace(/:[^:/]*$/, '');
  const name = posix.basename(image).replace(/[^a-zA-Z0-9_.-]/g, '-');
  return `kernel.${name === '' ? 'image' : name}.${plan.kernelId}`;
}

/** An image that was built here is known without a registry. */
export function imageNameOf({
  imageCanonical,
  imageIsLocal,
}: Pick<KernelPlan, 'imageCanonical' | 'imageIsLocal'>): string {
  if (!imageIsLocal) return imageCanonical;
  const [first = '', ...rest] = imageCanonical.split('/');
  return rest.length > 0 && (/[.:]/.test(first) || first === 'localhost') ? rest.join('/') : imageCanonical;
}

/**
 * The container as the engine is asked for it (spec/kernel-lifecycle.md 2.16): ours, then what the devices ask for,
 * then the operator's override files. Pure.
 */
export function containerSpecOf(
  plan: KernelPlan,
  labels: Readonly<Record<string, string>>,
  settings: ContainerSettings,
  found: EngineFacts = NO_FACTS,
): ContainerSpec {
  const start = runnerStartOf(plan, settings);
  const variables = {
    ...plan.environment,
    ...start.environment,
    ...mpiVariables(plan, found.gatewaySubnet),
  };
  const spec: ContainerSpec = {
    Image: imageNameOf(plan),
    Tty: true,
    OpenStdin: true,
    StopSignal: 'SIGINT',
    ExposedPorts: exposedPortsOf(plan),
    Entrypoint: [...start.entrypoint],
    Cmd: [...start.command],
    Env: Object.entries(variables).map(([name, value]) => `${name}=${value}`),
    User: start.user,
    WorkingDir: HOME,
    ...networkOf(plan).options,
    Labels: { ...labels },
    HostConfig: hostConfigOf(plan, settings, found),
  };
  const ofNetwork = plan.network?.mode === 'options' ? [plan.network.containerOptions] : [];
  const ofRunner = start.hostConfig === undefined ? [] : [{ HostConfig: start.hostConfig }];
  return [
    ...ofNetwork,
    ...ofRunner,
    { HostConfig: plan.deviceArguments },
    ...settings.overrides,
  ].reduce<ContainerSpec>((merged, extra) => mergeOptions(merged, extra), spec);
}

/** What the engine gives the container of the machine: limits, mounts, ports, privileges; devices excepted. Pure. */
export function hostConfigOf(
  plan: KernelPlan,
  settings: ContainerSettings,
  found: EngineFacts = NO_FACTS,
): HostConfig {
  const { limits } = plan;
  const start = runnerStartOf(plan, settings);
  return {
    Init: true,
    PublishAllPorts: false,
    ...(hasOwnPorts(plan) ? {} : { PortBindings: portBindingsOf(plan) }),
    ...securityOf(plan, settings),
    Ulimits: [
      cappedUlimit('nofile', NOFILE, settings.ownLimits.nofile),
      cappedUlimit('memlock', null, settings.ownLimits.memlock),
    ],
    LogConfig: logConfigOf(settings.logs),
    Mounts: mountsOf(plan, {
      host: [...settings.hostMounts, ...(found.hasSamples ? [SAMPLES_MOUNT] : [])],
      runner: start.mounts,
    }),
    GroupAdd: start.groups.map(String),
    Devices: settings.hostDevices.map((path) => ({
      PathOnHost: path,
      PathInContainer: path,
      CgroupPermissions: 'rwm',
    })),
    ...(limits.cpuCores.length === 0 ? {} : { CpusetCpus: coreList(limits.cpuCores) }),
    // Equal, so that no swap is used.
    ...(limits.memoryBytes > 0 ? { Memory: limits.memoryBytes, MemorySwap: limits.memoryBytes } : {}),
    ...(limits.shmBytes > 0 ? { ShmSize: limits.shmBytes } : {}),
    ...networkOf(plan).hostConfig,
  };
}

/** Strict hardening leaves nobody the right to change users, the entry point included. */
const runnerStartOf = (
  plan: KernelPlan,
  { runner, originalRunner, hardening }: ContainerSettings,
): RunnerStart =>
  originalRunner ?? ownRunnerStart(plan, runner, { isUserFixed: isUserFixed(plan, hardening) });

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
