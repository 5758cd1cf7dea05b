import { machine, release } from 'node:os';
import { formatCpuset } from './cpuset.js';
import type {
  Device,
  DeviceAttachment,
  DevicePlugin,
  DockerArguments,
  Granted,
  SlotDescription,
} from './device-plugin.js';
import { type MachineRoots, numaNodes, usableCores } from './machine.js';

export interface CpuPluginOptions {
  readonly roots?: MachineRoots;
  /** Kernels that may share one core, 1 to 10. */
  readonly overcommit?: number;
  /** Files below `/sys` with the core set of the container engine. */
  readonly otherCpusetFiles?: readonly string[];
  /** Instead of the machine's: so many cores without NUMA node, as the dummy backend has them. */
  readonly fixedCores?: number;
}

/** Numeric libraries that start as many threads as the machine has cores unless they are told. */
const THREAD_COUNT_VARIABLES = ['OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'NPROC'];

/** One device for each core (spec/config-and-resources.md 6.4). */
export class CpuPlugin implements DevicePlugin {
  readonly key = 'cpu';
  readonly allocation = { kind: 'discrete', strategy: 'EVENLY' } as const;
  readonly #options: CpuPluginOptions;

  constructor(options: CpuPluginOptions = {}) {
    this.#options = options;
  }

  slots(): readonly SlotDescription[] {
    return [
      {
        slotName: 'cpu',
        slotType: 'count',
        label: {
          description: 'CPU',
          humanReadableName: 'CPU',
          displayUnit: 'Core',
          numberFormat: { binary: false, roundLength: 0 },
          displayIcon: 'cpu',
        },
      },
    ];
  }

  async discover(): Promise<readonly Device[]> {
    const { roots = {}, overcommit = 1, otherCpusetFiles, fixedCores } = this.#options;
    const cores =
      fixedCores === undefined
        ? await usableCores(roots, otherCpusetFiles)
        : Array.from({ length: fixedCores }, (_, core) => core);
    const nodes = fixedCores === undefined ? await numaNodes(roots) : undefined;
    return cores.map((core) => ({
      deviceId: String(core),
      slotName: 'cpu',
      amount: String(overcommit),
      modelName: '',
      hardwareLocation: 'root',
      memoryBytes: 0n,
      processingUnits: overcommit,
      numaNode: nodes === undefined ? null : (nodes.get(core) ?? 0),
    }));
  }

  environment({ devices }: Granted): Readonly<Record<string, string>> {
    const count = String(Math.max(1, devices.length));
    return Object.fromEntries(THREAD_COUNT_VARIABLES.map((name) => [name, count]));
  }

  dockerArguments({ devices }: Granted): DockerArguments {
    if (devices.length === 0) return {};
    return { CpusetCpus: formatCpuset(devices.map(({ device }) => Number(device.deviceId))) };
  }

  /** Each core says how many there are. */
  attachedDevices({ devices }: Granted): readonly DeviceAttachment[] {
    return devices.map(({ device }) => ({
      deviceId: device.deviceId,
      modelName: '',
      data: { cores: devices.length },
    }));
  }

  describe() {
    return { version: '1', facts: { machine: machine(), os_type: 'linux', kernel: release() } };
  }
}
