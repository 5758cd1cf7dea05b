/**
 * `count`: unit-less, may be fractional. `bytes`: a byte count. `unique`: exactly one of one specific partition.
 * `unified`: attached to every kernel, never counted (spec/config-and-resources.md 4.1).
 */
export type SlotType = 'count' | 'bytes' | 'unique' | 'unified';

export const INTRINSIC_SLOTS: readonly string[] = ['cpu', 'mem'];

const ACCELERATOR_MAJORS = new Set(['device', 'devices', 'share', 'shares']);

/** `device[.major[:minor]]`: `cuda.device:1g.5gb-mig` is (`cuda`, `device`, `1g.5gb-mig`). Absent parts are empty. */
export interface SlotNameParts {
  readonly device: string;
  readonly major: string;
  readonly minor: string;
}

export function slotNameParts(name: string): SlotNameParts {
  const [device, type] = cut(name, '.');
  const [major, minor] = cut(type, ':');
  return { device, major, minor };
}

/** Name of the device family a slot belongs to: everything up to the first dot. */
export const deviceNameOf = (slotName: string): string => cut(slotName, '.')[0];

export const isAcceleratorSlot = (slotName: string): boolean =>
  ACCELERATOR_MAJORS.has(slotNameParts(slotName).major);

/** Is the slot the device's own, or one below it? */
export const belongsTo = (slotName: string, deviceName: string): boolean =>
  slotName === deviceName || slotName.startsWith(`${deviceName}.`);

function cut(text: string, at: string): [string, string] {
  const index = text.indexOf(at);
  return index < 0 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)];
}
