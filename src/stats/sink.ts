import type { AgentId, ContainerId, KernelId } from '../core/ids.js';
import type { ValueMap } from './metric.js';

/** Metric -> its published form. */
export type StatisticsRecord = Readonly<Record<string, ValueMap>>;

/** spec/events-and-stores.md 5.3. */
export interface NodeRecord {
  readonly node: StatisticsRecord;
  /** Metric -> device id -> its published form. */
  readonly devices: Readonly<Record<string, StatisticsRecord>>;
}

/** Where readings are published; implemented by `stores/redis-statistics`. Every method rejects when they are not. */
export interface StatisticsSink {
  node(agentId: AgentId, record: NodeRecord): Promise<void>;
  kernels(records: ReadonlyMap<KernelId, StatisticsRecord>): Promise<void>;
  /** Container -> process id -> record. */
  processes(records: ReadonlyMap<ContainerId, ReadonlyMap<number, StatisticsRecord>>): Promise<void>;
}
