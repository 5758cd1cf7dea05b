/** Who has which core, byte and device of the node: the parts other layers use. */
export { AgentResources, type ResourceLimits } from './agent-resources.js';
export type { AgentUsage, DeviceUsage, SlotUsage } from './agent-usage.js';
export type { AllocationStyle } from './alloc-map/create.js';
export type { AffinityPolicy } from './alloc-map/affinity-map.js';
export type { Allocation, AllocationRequest, AllocationTexts } from './allocation.js';
export { CpuPlugin, type CpuPluginOptions } from './devices/cpu.js';
export { createCudaPlugin } from './devices/cuda.js';
export { DOCKER_CPUSET_FILES } from './devices/machine.js';
export type {
  Device,
  DeviceAttachment,
  DeviceMeasure,
  DevicePlugin,
  DevicePluginContext,
  DevicePluginFactory,
  DockerArguments,
  Granted,
  HardwareInfo,
  SlotDescription,
} from './devices/device-plugin.js';
export { MemoryPlugin, type MemoryPluginOptions } from './devices/memory.js';
export { MockPlugin, type MockDevice, type MockPluginOptions } from './devices/mock.js';
export { mockPluginOf } from './devices/mock-settings.js';
export { loadDevicePlugins, type LoadDevicePluginsOptions } from './devices/plugins.js';
export { parseOvercommitFactor } from './devices/overcommit.js';
export * from './errors.js';
export {
  containerIdLine,
  containerIdOf,
  type KernelResourceSpec,
  parseResourceText,
  writeResourceText,
} from './kernel-resource-spec.js';
export type { MountEntry } from './mount-text.js';
export {
  type ManualShare,
  NodeResources,
  type NodeResourcesOptions,
  type ReservedAmounts,
} from './node-resources.js';
export type { AllocationMode } from './partition/modes.js';
export type { PluginMeasures } from './plugin-readings.js';
export { formatBinarySize, parseBinarySize, parseFiniteBinarySize } from './quantity/binary-size.js';
export { ResourceSlot } from './quantity/resource-slot.js';
export type { SlotType } from './quantity/slot-name.js';
