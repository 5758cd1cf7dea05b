import { z } from 'zod';
import { KeyError, ValueError } from '../core/errors.js';
import { inOrder } from './alloc-map/allocate.js';
import type { AllocationTexts } from './allocation.js';
import { type MountEntry, parseMount, writeMount } from './mount-text.js';
import {
  formatExactBinarySize,
  formatScaledBinarySize,
  parseFiniteBinarySize,
} from './quantity/binary-size.js';
import { parseDecimal, positionalText } from './quantity/decimal.js';
import type { SlotTypes } from './quantity/resource-slot.js';
import { belongsTo, deviceNameOf } from './quantity/slot-name.js';

export type { MountEntry } from './mount-text.js';

/** What a kernel asked for and got, as its `resource.txt` says it (spec/config-and-resources.md 4.4). */
export interface KernelResourceSpec {
  /** Slot -> requested amount, decimal texts. */
  readonly slots: Readonly<Record<string, string>>;
  readonly allocations: AllocationTexts;
  readonly scratchDiskSizeBytes: bigint;
  readonly mounts: readonly MountEntry[];
  /** Devices attached to every kernel without being counted: (device, slot). */
  readonly unifiedDevices?: readonly (readonly [string, string])[];
}

export interface ResourceTextOptions {
  readonly slotTypes: SlotTypes;
  /** Device names in the order of their lines; others follow. */
  readonly order?: readonly string[];
  /** Further lines of device plugins. */
  readonly pluginData?: Readonly<Record<string, string>>;
}

const SHARES = '_SHARES';

/**
 * Writes `resource.txt` without its last line, `CID=`. Byte amounts take the short form only where it is exact.
 * @throws ValueError for a slot that does not belong to its device, and for names the grammar cannot carry.
 */
export function writeResourceText(spec: KernelResourceSpec, options: ResourceTextOptions): string {
  const unified = spec.unifiedDevices ?? [];
  const lines = [
    `SCRATCH_SIZE=${formatScaledBinarySize(spec.scratchDiskSizeBytes, 'm')}`,
    `MOUNTS=${spec.mounts.map(writeMount).join(',')}`,
    `SLOTS=${JSON.stringify(spec.slots)}`,
    ...(unified.length > 0 ? [`UNIFIED_DEVICES=${JSON.stringify(unified)}`] : []),
    ...inOrder(Object.keys(spec.allocations), options.order ?? []).flatMap((deviceName) =>
      Object.entries(spec.allocations[deviceName] ?? {}).map(([slotName, perDevice]) =>
        allocationLine(deviceName, slotName, perDevice, options.slotTypes),
      ),
    ),
    ...Object.entries(options.pluginData ?? {}).map(([key, value]) => `${oneLine(key)}=${oneLine(value)}`),
  ];
  return lines.map((line) => `${oneLine(line)}\n`).join('');
}

/** The line that is appended once the container exists. */
export const containerIdLine = (containerId: string): string => `CID=${oneLine(containerId)}\n`;

function allocationLine(
  deviceName: string,
  slotName: string,
  perDevice: Readonly<Record<string, string>>,
  types: SlotTypes,
): string {
  if (!belongsTo(slotName, deviceName))
    throw new ValueError(`device_name (${deviceName}) must be a prefix of slot_name (${slotName})`);
  const pairs = Object.entries(perDevice).map(([deviceId, amount]) => {
    if (/[:,\n]/.test(deviceId)) throw new ValueError(`a device id cannot contain ':' or ',': '${deviceId}'`);
    return `${deviceId}:${types.get(slotName) === 'bytes' ? sizeText(amount) : positionalText(parseDecimal(amount))}`;
  });
  return `${slotName.toUpperCase()}${SHARES}=${pairs.join(',')}`;
}

const sizeText = (amount: string): string =>
  formatExactBinarySize(BigInt(positionalText(parseDecimal(amount).trunc())));

function oneLine(text: string): string {
  if (/[\r\n]/.test(text)) throw new ValueError('resource.txt: a value cannot contain a line break');
  return text;
}

const SLOTS = z.record(z.string(), z.union([z.string(), z.number().transform(String)]));
const UNIFIED = z.array(z.tuple([z.string(), z.string()]));

/**
 * Reads `resource.txt`, this program's or the original's. Unknown keys are left out; of a key that is there twice the
 * last one counts.
 * @throws KeyError for a missing mandatory line, ValueError for one that cannot be read.
 */
export function parseResourceText(text: string, slotTypes: SlotTypes): KernelResourceSpec {
  const lines = new Map(
    text.split(/\r?\n/).flatMap((line): [string, string][] => {
      const equals = line.indexOf('=');
      return equals < 0 ? [] : [[line.slice(0, equals).trim(), line.slice(equals + 1).trim()]];
    }),
  );
  const mandatory = (key: string): string => {
    const value = lines.get(key);
    if (value === undefined) throw new KeyError(key);
    return value;
  };
  const mounts = mandatory('MOUNTS');
  const unified = lines.get('UNIFIED_DEVICES');
  return {
    scratchDiskSizeBytes: parseFiniteBinarySize(mandatory('SCRATCH_SIZE')),
    mounts: mounts === '' ? [] : mounts.split(',').filter(Boolean).map(parseMount),
    slots: parseJson('SLOTS', mandatory('SLOTS'), SLOTS),
    allocations: parseAllocationLines(lines, slotTypes),
    ...(unified === undefined ? {} : { unifiedDevices: parseJson('UNIFIED_DEVICES', unified, UNIFIED) }),
  };
}

/** What follows `CID=`; undefined before the container exists. */
export const containerIdOf = (text: string): string | undefined => /^CID=(\S+)\s*$/m.exec(text)?.[1];

function parseAllocationLines(lines: ReadonlyMap<string, string>, types: SlotTypes): AllocationTexts {
  const allocations: Record<string, Record<string, Record<string, string>>> = {};
  for (const [key, value] of lines) {
    if (!key.endsWith(SHARES)) continue;
    const slotName = key.slice(0, -SHARES.length).toLowerCase();
    const perDevice: Record<string, string> = {};
    for (const pair of value.split(',')) {
      const colon = pair.indexOf(':');
      const [deviceId, amount] = [pair.slice(0, colon).trim(), pair.slice(colon + 1).trim()];
      if (colon <= 0 || deviceId === '' || amount === '') continue;
      perDevice[deviceId] =
        types.get(slotName) === 'bytes'
          ? String(parseFiniteBinarySize(amount))
          : positionalText(parseDecimal(amount));
    }
    (allocations[deviceNameOf(slotName)] ??= {})[slotName] = perDevice;
  }
  return allocations;
}

function parseJson<T>(key: string, text: string, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ValueError(`resource.txt: ${key} is not JSON`, { cause: error });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new ValueError(`resource.txt: ${key} has an unexpected shape`);
  return parsed.data;
}

/** For logs: a plain map with texts only. */
export function resourceSpecJson(spec: KernelResourceSpec): Readonly<Record<string, unknown>> {
  return {
    slots: spec.slots,
    allocations: spec.allocations,
    scratch_disk_size: Number(spec.scratchDiskSizeBytes),
    mounts: spec.mounts.map(writeMount),
    unified_devices: spec.unifiedDevices ?? [],
  };
}
