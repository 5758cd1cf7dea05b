import type { AgentConfig, ConfigProblem, DaemonConfig, DummyConfig } from '../config/index.js';
import { messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { type PluginTexts, textSettings } from './plugin-settings.js';
import {
  CpuPlugin,
  type DevicePlugin,
  DOCKER_CPUSET_FILES,
  loadDevicePlugins,
  type ManualShare,
  MemoryPlugin,
  mockPluginOf,
  NodeResources,
  parseOvercommitFactor,
} from '../resources/index.js';

/** The node's ledger of devices as the configuration wants it shared. */
export async function createNodeResources(options: {
  readonly config: DaemonConfig;
  /** Of the dummy backend, which says what the node has; null with another. */
  readonly dummy: DummyConfig | null;
  readonly agents: readonly { readonly id: AgentId; readonly config: AgentConfig }[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly logger: Logger;
}): Promise<NodeResources> {
  const { config, agents, logger } = options;
  return NodeResources.create({
    plugins: await devicePlugins(options),
    agents: agents.map(({ id, config: agent }) => ({ id, manual: manualShare(agent) })),
    mode: config.allocationMode,
    reserved: config.reserved,
    memoryAlignBytes: config.memoryAlignBytes,
    allocationOrder: config.allocationOrder,
    affinityPolicy: config.affinityPolicy,
    logger,
  });
}

/** What is wrong with the device tables of the configuration, as far as that shows without looking at the machine. */
export function deviceProblems({ devices, file }: DaemonConfig): readonly ConfigProblem[] {
  const { mock } = devices;
  if (!mock) return [];
  try {
    mockPluginOf(mock);
    return [];
  } catch (error) {
    return [{ key: 'splenium.devices.mock', message: messageOf(error), origin: file ?? 'configuration' }];
  }
}

/** The intrinsic plugins have no settings (spec/events-and-stores.md 1.7). */
const INTRINSIC: ReadonlySet<string> = new Set(['cpu', 'mem']);

/**
 * The device plugins that follow the store, with what they were started with. One whose settings stand in the local
 * file does not look at the store.
 */
export function followedDevices(
  { devices, plugins }: Pick<DaemonConfig, 'devices' | 'plugins'>,
  pluginKeys: readonly string[],
): ReadonlyMap<string, PluginTexts> {
  const mock = devices['mock']?.['key'] ?? 'mock';
  const followed = pluginKeys.filter(
    (key) => !INTRINSIC.has(key) && key !== mock && devices[key] === undefined,
  );
  return new Map(followed.map((key) => [key, textSettings(plugins[key] ?? {})]));
}

async function devicePlugins({
  config,
  dummy,
  env,
  cwd,
  logger,
}: Parameters<typeof createNodeResources>[0]): Promise<readonly DevicePlugin[]> {
  const { mock, ...others } = config.devices;
  const isDocker = config.backend === 'docker';
  const accelerators = await loadDevicePlugins({
    allow: config.computePlugins.allow,
    block: config.computePlugins.block ?? [],
    packages: Object.values(others).flatMap(({ package: name }) => (typeof name === 'string' ? [name] : [])),
    resolveFrom: cwd,
    settingsOf: (key) => Promise.resolve(textSettings(others[key] ?? config.plugins[key] ?? {})),
    logger,
  });
  return [
    ...accelerators,
    ...(mock ? [mockPluginOf(mock)] : []),
    new CpuPlugin({
      overcommit: parseOvercommitFactor(env['BACKEND_CPU_OVERCOMMIT_FACTOR']),
      ...(isDocker ? { otherCpusetFiles: DOCKER_CPUSET_FILES } : {}),
      ...(dummy ? { fixedCores: dummy.cores } : {}),
    }),
    new MemoryPlugin({
      overcommit: parseOvercommitFactor(env['BACKEND_MEM_OVERCOMMIT_FACTOR']),
      // Containers are children of the engine, not of this process.
      ownCgroup: !isDocker,
      ...(dummy ? { fixedBytes: BigInt(dummy.memoryBytes) } : {}),
      sharedMemory: config.managerVersion === '25.17' ? 'subtracted' : 'included',
    }),
  ];
}

function manualShare({ allocations }: AgentConfig): ManualShare | undefined {
  if (!allocations) return undefined;
  return {
    slots: { cpu: String(allocations.cpu), mem: String(allocations.memBytes), ...allocations.devices },
    deviceIds: allocations.deviceIds,
  };
}
