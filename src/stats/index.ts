/** What the node, its devices, its kernels and their processes use. */
export { DiskUsage, type FilesystemSpace } from './disk-usage.js';
export { KernelReader, type KernelReading, type SourcesOfKernels } from './kernel-reader.js';
export { KernelStatistics, type MeasuredKernel, ProcessStatistics } from './kernel-statistics.js';
export { KernelUsageReader } from './kernel-usage.js';
export { NodeReader, type NodeReading } from './node-reader.js';
export { NodeStatistics } from './node-statistics.js';
export { readText } from './read-text.js';
export { Rounds } from './rounds.js';
export { SharedReading } from './shared-reading.js';
export type { NodeRecord, StatisticsRecord, StatisticsSink } from './sink.js';
export { slotMetadata } from './slot-metadata.js';
export { UtilizationGauges } from './utilization-gauges.js';
