import type { AllocationStyle } from '../alloc-map/create.js';
import { Decimal } from '../quantity/decimal.js';
import type { SlotType } from '../quantity/slot-name.js';
import type {
  Device,
  DeviceAttachment,
  DevicePlugin,
  DockerArguments,
  Granted,
  HardwareInfo,
  SlotDescription,
} from './device-plugin.js';

export interface MockDevice {
  readonly deviceId: string;
  /** Default: the first slot. */
  readonly slotName?: string;
  /** Default 1. */
  readonly amount?: string;
  readonly modelName?: string;
  readonly memoryBytes?: bigint;
  readonly processingUnits?: number;
  readonly numaNode?: number | null;
}

export interface MockPluginOptions {
  /** Device name, for example `cuda`. */
  readonly key: string;
  readonly slots: readonly { readonly slotName: string; readonly slotType?: SlotType }[];
  readonly allocation: AllocationStyle;
  readonly devices: readonly MockDevice[];
  readonly exclusiveSlots?: readonly string[];
}

/**
 * Devices that are only there by configuration: for tests, demonstrations and load tests of a scheduler
 * (spec/config-and-resources.md 6.6). Its devices can be changed while it runs.
 */
export class MockPlugin implements DevicePlugin {
  readonly key: string;
  readonly allocation: AllocationStyle;
  readonly exclusiveSlots: readonly string[];
  readonly #options: MockPluginOptions;
  #devices: readonly MockDevice[];

  constructor(options: MockPluginOptions) {
    this.key = options.key;
    this.allocation = options.allocation;
    this.exclusiveSlots = options.exclusiveSlots ?? [];
    this.#options = options;
    this.#devices = options.devices;
  }

  /** What the next re-scan finds. */
  setDevices(devices: readonly MockDevice[]): void {
    this.#devices = devices;
  }

  slots(): readonly SlotDescription[] {
    return this.#options.slots.map(({ slotName, slotType }) => ({ slotName, slotType: slotType ?? 'count' }));
  }

  discover(): Promise<readonly Device[]> {
    const firstSlot = this.#options.slots[0]?.slotName ?? this.key;
    return Promise.resolve(
      this.#devices.map((device) => ({
        deviceId: device.deviceId,
        slotName: device.slotName ?? firstSlot,
        amount: device.amount ?? '1',
        modelName: device.modelName ?? `mock ${this.key}`,
        hardwareLocation: '',
        memoryBytes: device.memoryBytes ?? 0n,
        processingUnits: device.processingUnits ?? 0,
        numaNode: device.numaNode ?? null,
      })),
    );
  }

  environment({ devices }: Granted): Readonly<Record<string, string>> {
    const name = this.key.toUpperCase().replaceAll('-', '_');
    return {
      [`BACKENDAI_MOCK_${name}_DEVICES`]: devices.map(({ device }) => device.deviceId).join(','),
      [`BACKENDAI_MOCK_${name}_DEVICE_COUNT`]: String(devices.length),
    };
  }

  dockerArguments(): DockerArguments {
    return {};
  }

  attachedDevices({ devices }: Granted): readonly DeviceAttachment[] {
    return devices.map(({ device }) => ({
      deviceId: device.deviceId,
      modelName: device.modelName,
      data: { memBytes: device.memoryBytes, smp: device.processingUnits },
    }));
  }

  hardwareInfo(): Promise<HardwareInfo> {
    return Promise.resolve({
      status: 'healthy',
      statusInfo: null,
      metadata: { devices: String(this.#devices.length) },
    });
  }
}

/**
 * Size of one device in shares, by the smaller of its memory and its processors, cut to hundredths: 40 GiB and 108
 * processors in units of 2 GiB and 8 are 13.5.
 */
export function shareOfDevice(
  device: { readonly memoryBytes: bigint; readonly processingUnits: number },
  unit: { readonly memoryBytes: bigint; readonly processingUnits: number },
): string {
  const memory = new Decimal(String(device.memoryBytes)).dividedBy(String(unit.memoryBytes));
  const processors = new Decimal(device.processingUnits).dividedBy(unit.processingUnits);
  return Decimal.min(memory, processors).toDecimalPlaces(2, Decimal.ROUND_DOWN).toString();
}
