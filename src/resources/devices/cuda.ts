import { attempt } from '../../core/async.js';
import { ValueError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { AllocationStyle } from '../alloc-map/create.js';
import { parseDecimal, ZERO } from '../quantity/decimal.js';
import type {
  Device,
  DeviceAttachment,
  DeviceMeasure,
  DevicePlugin,
  DevicePluginContext,
  DockerArguments,
  Granted,
  HardwareInfo,
  SlotDescription,
} from './device-plugin.js';
import { type MachineRoots, pciNumaNode } from './machine.js';
import { type GpuReport, type GpuRow, NvidiaSmi } from './nvidia-smi.js';

/** Settings of the store, `config/plugins/accelerator/cuda/`. */
export interface CudaSettings {
  /** Whole GPUs as `cuda.device`, or fractions as `cuda.shares`, one GPU being 1. */
  readonly allocation: 'discrete' | 'fractional';
  /** Indices or UUIDs of GPUs to leave alone. */
  readonly deviceMask: ReadonlySet<string>;
  /** Smallest fraction given out. */
  readonly quantum: string;
}

export interface CudaPluginOptions {
  readonly smi: NvidiaSmi;
  readonly settings: CudaSettings;
  readonly logger: Logger;
  readonly roots?: MachineRoots;
}

const CAPABILITIES = ['utility', 'compute', 'video', 'graphics', 'display'];
const DEVICE = 'cuda.device';
const SHARES = 'cuda.shares';

/**
 * NVIDIA GPUs as `nvidia-smi` tells about them (spec/config-and-resources.md 6.5). Kernels are given GPUs by UUID, which
 * means the same inside and outside of a container and after a GPU has fallen off the bus. Shares divide the booking
 * of a GPU, not the GPU: kernels that share one see all of its memory.
 */
export class CudaPlugin implements DevicePlugin {
  readonly key = 'cuda';
  readonly exclusiveSlots = [DEVICE, SHARES, `${DEVICE}:*-mig`];
  readonly allocation: AllocationStyle;
  readonly #options: CudaPluginOptions;
  #deviceMask: ReadonlySet<string>;

  constructor(options: CudaPluginOptions) {
    const { allocation, quantum, deviceMask } = options.settings;
    this.#deviceMask = deviceMask;
    this.allocation = allocation === 'discrete' ? { kind: 'discrete' } : { kind: 'fraction', quantum };
    this.#options = options;
  }

  /** The mask applies at once: a GPU that is masked now gets no new kernels. @throws ValueError naming the setting. */
  updateSettings(settings: Readonly<Record<string, string>>): Promise<readonly string[]> {
    return attempt(() => {
      const { allocation, quantum, deviceMask } = cudaSettings(settings);
      this.#deviceMask = deviceMask;
      const started = this.#options.settings;
      return [
        ...(allocation === started.allocation ? [] : ['allocation_mode']),
        ...(quantum === started.quantum ? [] : ['quantum_size']),
      ];
    });
  }

  slots(): readonly SlotDescription[] {
    const isShares = this.#slotName === SHARES;
    return [
      {
        slotName: this.#slotName,
        slotType: 'count',
        label: {
          description: isShares ? 'CUDA-capable GPU (fractional)' : 'CUDA-capable GPU',
          humanReadableName: isShares ? 'fGPU' : 'GPU',
          displayUnit: isShares ? 'fGPU' : 'GPU',
          numberFormat: { binary: false, roundLength: isShares ? 2 : 0 },
          displayIcon: 'gpu1',
        },
      },
    ];
  }

  /** GPUs that can be used now; each one that cannot is told to the log. */
  async discover(): Promise<readonly Device[]> {
    const devices: Device[] = [];
    for (const row of await this.#rows()) {
      const defect = defectOf(row);
      if (defect !== null) {
        this.#options.logger.warn('GPU left out', { index: row.index, busId: row.busId, defect });
        continue;
      }
      devices.push({
        deviceId: row.index,
        slotName: this.#slotName,
        amount: '1',
        modelName: row.name,
        hardwareLocation: row.busId,
        memoryBytes: row.memoryBytes ?? 0n,
        processingUnits: 0,
        numaNode: await pciNumaNode(this.#options.roots ?? {}, row.busId),
        data: { uuid: row.uuid ?? '' },
      });
    }
    return devices;
  }

  /** A kernel without GPUs is told so: otherwise a child process would see all of them. */
  environment({ devices }: Granted): Readonly<Record<string, string>> {
    if (devices.length === 0) return { CUDA_VISIBLE_DEVICES: '', NVIDIA_VISIBLE_DEVICES: 'void' };
    const uuids = devices.map(({ device }) => uuidOf(device)).join(',');
    return { CUDA_VISIBLE_DEVICES: uuids, CUDA_DEVICE_ORDER: 'PCI_BUS_ID' };
  }

  dockerArguments({ devices }: Granted): DockerArguments {
    if (devices.length === 0) return {};
    const uuids = devices.map(({ device }) => uuidOf(device));
    return { DeviceRequests: [{ Driver: 'nvidia', DeviceIDs: uuids, Capabilities: [CAPABILITIES] }] };
  }

  resourceData({ devices }: Granted): Readonly<Record<string, string>> {
    const ids = devices.map(({ device }) => device.deviceId).sort((a, b) => Number(a) - Number(b));
    return {
      CUDA_GLOBAL_DEVICE_IDS: ids.map((id, index) => `${String(index)}:${id}`).join(','),
      CUDA_RESOURCE_VIRTUALIZED: '0',
    };
  }

  attachedDevices({ devices }: Granted): readonly DeviceAttachment[] {
    return devices.map(({ device }) => ({
      deviceId: device.deviceId,
      modelName: device.modelName,
      data: { memBytes: device.memoryBytes },
    }));
  }

  async hardwareInfo(): Promise<HardwareInfo> {
    const rows = await this.#rows();
    const report = await this.#options.smi.report();
    const defects = rows.flatMap((row) =>
      complaintsOf(row, report).map((text) => `GPU ${row.index}: ${text}`),
    );
    const usable = rows.filter((row) => defectOf(row) === null).length;
    const status = usable === 0 ? 'offline' : defects.length > 0 ? 'degraded' : 'healthy';
    return {
      status,
      statusInfo: usable === 0 && defects.length === 0 ? 'no GPU found' : defects.join('; ') || null,
      metadata: {
        driver_version: report?.driverVersion ?? '',
        cuda_version: report?.cudaVersion ?? '',
        ...Object.fromEntries(rows.map((row) => [`gpu${row.index}`, row.name])),
      },
    };
  }

  async measure(): Promise<readonly DeviceMeasure[]> {
    const rows = (await this.#rows()).filter((row) => defectOf(row) === null);
    if (rows.length === 0) return [];
    return [
      measureOf(
        'cuda_mem',
        'bytes',
        rows,
        (row) => row.memoryUsedBytes,
        (row) => row.memoryBytes ?? 0n,
      ),
      measureOf(
        'cuda_util',
        'percent',
        rows,
        (row) => (row.utilizationPercent === null ? null : BigInt(Math.round(row.utilizationPercent))),
        () => 100n,
      ),
    ];
  }

  describe() {
    return { version: '1', facts: { cuda_support: 'true', allocation: this.#options.settings.allocation } };
  }

  get #slotName(): string {
    return this.#options.settings.allocation === 'discrete' ? DEVICE : SHARES;
  }

  async #rows(): Promise<readonly GpuRow[]> {
    const { smi } = this.#options;
    const rows = (await smi.rows()) ?? [];
    return rows.filter(
      ({ index, uuid }) => !this.#deviceMask.has(index) && !this.#deviceMask.has(uuid ?? ''),
    );
  }
}

const uuidOf = ({ data, deviceId }: Device): string => data?.['uuid'] ?? deviceId;

/** Why kernels cannot use the GPU; null when they can. */
function defectOf(row: GpuRow): string | null {
  if (row.uuid === null || row.memoryBytes === null) return 'the driver cannot reach it';
  if (row.migEnabled) return 'it is in MIG mode, which this plugin does not divide up';
  return null;
}

function complaintsOf(row: GpuRow, report: GpuReport | null): readonly string[] {
  const defect = defectOf(row);
  return [...new Set([...(defect === null ? [] : [defect]), ...(report?.complaints.get(row.busId) ?? [])])];
}

function measureOf(
  key: string,
  unit: DeviceMeasure['unit'],
  rows: readonly GpuRow[],
  valueOf: (row: GpuRow) => bigint | null,
  capacityOf: (row: GpuRow) => bigint,
): DeviceMeasure {
  const told = rows.filter((row) => valueOf(row) !== null);
  const total = (of: (row: GpuRow) => bigint): string =>
    String(told.reduce((before, row) => before + of(row), 0n));
  return {
    key,
    unit,
    value: total((row) => valueOf(row) ?? 0n),
    capacity: total(capacityOf),
    perDevice: Object.fromEntries(
      told.map((row) => [row.index, { value: String(valueOf(row)), capacity: String(capacityOf(row)) }]),
    ),
  };
}

/** @throws ValueError naming the setting. */
export function cudaSettings(settings: Readonly<Record<string, string>>): CudaSettings {
  const allocation = settings['allocation_mode'] ?? 'discrete';
  if (allocation !== 'discrete' && allocation !== 'fractional')
    throw new ValueError(`cuda: allocation_mode is "discrete" or "fractional", but given "${allocation}"`);
  const quantum = settings['quantum_size'] ?? '0.1';
  const unit = parseDecimal(quantum);
  if (!unit.greaterThan(ZERO) || unit.greaterThan(1))
    throw new ValueError(`cuda: quantum_size is above 0 and at most 1, but given "${quantum}"`);
  const mask = (settings['device_mask'] ?? '').split(',').map((item) => item.trim());
  return { allocation, quantum, deviceMask: new Set(mask.filter((item) => item !== '')) };
}

/** The plugin, or undefined on a machine without `nvidia-smi`. */
export async function createCudaPlugin(
  { settings, logger }: DevicePluginContext,
  smi = new NvidiaSmi(),
): Promise<DevicePlugin | undefined> {
  if ((await smi.rows()) === null) return undefined;
  return new CudaPlugin({ smi, settings: cudaSettings(settings), logger });
}
