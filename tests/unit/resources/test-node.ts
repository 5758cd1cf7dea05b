import { type AgentId, type KernelId, parseAgentId, parseKernelId } from '../../../src/core/ids.js';
import { type Logger, type LogFields, silentLogger } from '../../../src/core/logger.js';
import {
  type AllocationRequest,
  CpuPlugin,
  MemoryPlugin,
  type MockDevice,
  MockPlugin,
  NodeResources,
  type NodeResourcesOptions,
} from '../../../src/resources/index.js';

export const GIB = 1024n ** 3n;

export const A = parseAgentId('a');
export const B = parseAgentId('b');
export const C = parseAgentId('c');

export const kernel = (number: number): KernelId =>
  parseKernelId(`00000000-0000-4000-8000-${String(number).padStart(12, '0')}`);

/** GPUs `0`, `1`, … on NUMA nodes in turn. */
export const gpus = (count: number): MockDevice[] =>
  Array.from({ length: count }, (_, index) => ({
    deviceId: String(index),
    modelName: 'Mock 1000',
    memoryBytes: 8n * GIB,
    processingUnits: 16,
    numaNode: index % 2,
  }));

export const wholeGpus = (devices: readonly MockDevice[]): MockPlugin =>
  new MockPlugin({
    key: 'cuda',
    slots: [{ slotName: 'cuda.device' }],
    allocation: { kind: 'discrete' },
    devices,
  });

export const sharedGpus = (devices: readonly MockDevice[]): MockPlugin =>
  new MockPlugin({
    key: 'cuda',
    slots: [{ slotName: 'cuda.shares' }],
    allocation: { kind: 'fraction', quantum: '0.1' },
    devices,
  });

/** Eight cores, 16 GiB, nothing kept back. */
export const nodeOptions = (
  agents: readonly AgentId[],
  more: Partial<NodeResourcesOptions> = {},
): NodeResourcesOptions => ({
  plugins: [new CpuPlugin({ fixedCores: 8 }), new MemoryPlugin({ fixedBytes: 16n * GIB })],
  agents: agents.map((id) => ({ id })),
  mode: 'shared',
  reserved: { cpu: 0, memBytes: 0 },
  memoryAlignBytes: 16 * 1024 ** 2,
  allocationOrder: ['cuda', 'cpu', 'mem'],
  affinityPolicy: 'INTERLEAVED',
  logger: silentLogger,
  ...more,
});

export const createNode = (agents: readonly AgentId[], more: Partial<NodeResourcesOptions> = {}) =>
  NodeResources.create(nodeOptions(agents, more));

export const request = (
  slots: Readonly<Record<string, string>>,
  more: Partial<AllocationRequest> = {},
): AllocationRequest => ({
  slots: { cpu: '1', mem: String(GIB), ...slots },
  shmemBytes: null,
  allowFractionalFragmentation: true,
  ...more,
});

/** Keeps what is logged. */
export function recordingLogger(): Logger & {
  readonly lines: { level: string; message: string; fields: LogFields }[];
} {
  const lines: { level: string; message: string; fields: LogFields }[] = [];
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}) => {
      lines.push({ level, message, fields });
    };
  const logger = {
    lines,
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => logger,
  };
  return logger;
}
