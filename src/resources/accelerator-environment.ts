import type { DeviceAttachment } from './devices/device-plugin.js';
import { formatShortBinarySize } from './quantity/binary-size.js';

const MEBIBYTE = 1024n ** 2n;

/**
 * What images of the original expect to find about the kernel's accelerator
 * (spec/config-and-resources.md 6.1, "Derived env vars").
 */
export function acceleratorEnvironment(
  accelerator: { readonly deviceName: string; readonly devices: readonly DeviceAttachment[] } | undefined,
): Readonly<Record<string, string>> {
  const devices = accelerator?.devices ?? [];
  const count = String(devices.length);
  const [first] = devices;
  if (accelerator === undefined || first === undefined) return { GPU_COUNT: count, N_GPUS: count };
  const memory = devices.map(({ data }) => data.memBytes ?? 0n);
  return {
    GPU_TYPE: accelerator.deviceName,
    GPU_MODEL_NAME: first.modelName,
    GPU_CONFIG: memory.map((bytes, index) => `${String(index)}:${formatShortBinarySize(bytes)}`).join(','),
    TF_GPU_MEMORY_ALLOC: memory
      .map((bytes, index) => `${String(index)}:${String(bytes / MEBIBYTE)}`)
      .join(','),
    GPU_COUNT: count,
    N_GPUS: count,
  };
}
