import { DevicePluginError } from '../errors.js';
import { parseDecimal } from '../quantity/decimal.js';
import { INTRINSIC_SLOTS } from '../quantity/slot-name.js';
import type { Device, DevicePlugin } from './device-plugin.js';

const KEY = /^[a-z][a-z0-9-]{0,30}$/;
const DEVICE_ID = /^[^:,=\s]{1,120}$/;

/**
 * Plugins in the order in which they take part: `cpu` and `mem` last (spec/config-and-resources.md 6.2).
 * @throws DevicePluginError for a duplicate key, or a slot outside the plugin's own name.
 */
export function admitPlugins(plugins: readonly DevicePlugin[]): readonly DevicePlugin[] {
  const keys = new Set<string>();
  for (const plugin of plugins) {
    if (!KEY.test(plugin.key))
      throw new DevicePluginError(
        `a device plugin's key is lower-case letters, digits and '-': '${plugin.key}'`,
      );
    if (keys.has(plugin.key))
      throw new DevicePluginError(
        `A plugin defining the same key '${plugin.key}' already exists. You may need to uninstall it first.`,
      );
    keys.add(plugin.key);
    requireOwnSlots(plugin);
  }
  const rank = ({ key }: DevicePlugin): number => INTRINSIC_SLOTS.indexOf(key);
  return [...plugins].sort((a, b) => rank(a) - rank(b));
}

/** @throws DevicePluginError when the plugin's devices are not of its slots, are there twice or have bad amounts. */
export function requireUsableDevices(plugin: DevicePlugin, devices: readonly Device[]): void {
  requireOwnSlots(plugin);
  const slots = new Set(plugin.slots().map(({ slotName }) => slotName));
  const ids = new Set<string>();
  for (const { deviceId, slotName, amount } of devices) {
    const refuse = (why: string): never => {
      throw new DevicePluginError(`device plugin ${plugin.key}, device '${deviceId}': ${why}`);
    };
    if (!DEVICE_ID.test(deviceId)) refuse("an id has no ':', ',', '=' and no blanks");
    if (ids.has(deviceId)) refuse('the id is there twice');
    ids.add(deviceId);
    if (!slots.has(slotName)) refuse(`its slot '${slotName}' is not declared`);
    const value = parseDecimal(amount);
    if (!value.isFinite() || value.isNegative())
      refuse(`its amount '${amount}' is not a number, zero or more`);
  }
}

function requireOwnSlots(plugin: DevicePlugin): void {
  for (const { slotName } of plugin.slots())
    if (
      !slotName.startsWith(`${plugin.key}.`) &&
      !(slotName === plugin.key && INTRINSIC_SLOTS.includes(slotName))
    )
      throw new DevicePluginError(
        "Slot types defined by an accelerator plugin must be prefixed by the plugin's key. " +
          `(${plugin.key}: '${slotName}')`,
      );
}
