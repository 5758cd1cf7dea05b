import { parseDecimal, positionalText } from '../quantity/decimal.js';
import type {
  Device,
  DeviceAttachment,
  DeviceMeasure,
  DevicePlugin,
  DockerArguments,
  Granted,
  SlotDescription,
} from './device-plugin.js';
import { availableMemoryBytes, type MachineRoots, usableMemoryBytes } from './machine.js';

export interface MemoryPluginOptions {
  readonly roots?: MachineRoots;
  /** By how much memory is promised beyond what there is, 1 to 10. */
  readonly overcommit?: number;
  /** Instead of the machine's: so many bytes. */
  readonly fixedBytes?: bigint;
  /** Heed the limit of our own control group; right where kernels are our children. Default true. */
  readonly ownCgroup?: boolean;
  /**
   * Is a kernel's shared memory taken out of the limit of its container, as 25.17 does it, or not, as from 26.8 on
   * (spec/config-and-resources.md 6.4)? Default `subtracted`.
   */
  readonly sharedMemory?: 'subtracted' | 'included';
}

const ROOT = 'root';

/** Main memory: one device, given out in bytes (spec/config-and-resources.md 6.4). */
export class MemoryPlugin implements DevicePlugin {
  readonly key = 'mem';
  readonly allocation = { kind: 'discrete', strategy: 'FILL' } as const;
  readonly #options: MemoryPluginOptions;

  constructor(options: MemoryPluginOptions = {}) {
    this.#options = options;
  }

  slots(): readonly SlotDescription[] {
    return [
      {
        slotName: 'mem',
        slotType: 'bytes',
        label: {
          description: 'Memory',
          humanReadableName: 'RAM',
          displayUnit: 'GiB',
          numberFormat: { binary: true, roundLength: 0 },
          displayIcon: 'cpu',
        },
      },
    ];
  }

  async discover(): Promise<readonly Device[]> {
    const bytes = (await this.#physicalBytes()) * BigInt(this.#options.overcommit ?? 1);
    return [
      {
        deviceId: ROOT,
        slotName: 'mem',
        amount: String(bytes),
        modelName: '',
        hardwareLocation: 'root',
        memoryBytes: bytes,
        processingUnits: 0,
        numaNode: 0,
      },
    ];
  }

  /** No swap. That shared memory leaves something of it is a rule of every allocation. */
  dockerArguments({ devices, shmemBytes }: Granted): DockerArguments {
    const amount = devices[0]?.amount;
    if (amount === undefined) return {};
    const isSubtracted = (this.#options.sharedMemory ?? 'subtracted') === 'subtracted';
    const shared = isSubtracted ? (shmemBytes ?? 0n) : 0n;
    const bytes = Number(positionalText(parseDecimal(amount).minus(String(shared))));
    return {
      Memory: bytes,
      MemorySwap: bytes,
      ...(shmemBytes === null ? {} : { ShmSize: Number(shmemBytes) }),
    };
  }

  attachedDevices({ devices }: Granted): readonly DeviceAttachment[] {
    return devices.map(({ device }) => ({ deviceId: device.deviceId, modelName: '', data: {} }));
  }

  async measure(): Promise<readonly DeviceMeasure[]> {
    const total = await this.#physicalBytes();
    const available = await availableMemoryBytes(this.#options.roots ?? {});
    if (available === undefined || available > total) return [];
    const amounts = { value: String(total - available), capacity: String(total) };
    return [{ key: 'mem', unit: 'bytes', ...amounts, perDevice: { [ROOT]: amounts } }];
  }

  #physicalBytes(): Promise<bigint> {
    const { fixedBytes, roots = {}, ownCgroup = true } = this.#options;
    return fixedBytes === undefined ? usableMemoryBytes(roots, ownCgroup) : Promise.resolve(fixedBytes);
  }
}
