/** What the node, its devices, its kernels and their processes use. */
export { DiskUsage, type FilesystemSpace } from './disk-usage.js';
export {
  type KernelSources,
  KernelStatistics,
  type MeasuredKernel,
  ProcessStatistics,
} from './kernel-statistics.js';
export { KernelUsageReader } from './kernel-usage.js';
export { NodeStatistics } from './node-statistics.js';
export { Questions } from './questions.js';
export { Rounds } from './rounds.js';
export type { NodeRecord, StatisticsRecord, StatisticsSink } from './sink.js';
export { slotMetadata } from './slot-metadata.js';
export { UtilizationGauges } from './utilization-gauges.js';
