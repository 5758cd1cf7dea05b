import type { ContainerId, KernelId } from '../core/ids.js';
import { Decimal, ZERO } from '../resources/quantity/decimal.js';
import { KERNEL_METRICS, PROCESS_METRICS } from './catalogue.js';
import { GrowingCounter } from './growing-counter.js';
import type { KernelReading } from './kernel-reader.js';
import type { KernelUsage, ProcessUsage } from './kernel-usage.js';
import { type Measurement, MetricSeries } from './metric.js';
import type { StatisticsRecord, StatisticsSink } from './sink.js';
import type { GaugedKernel, UtilizationGauges } from './utilization-gauges.js';

export interface MeasuredKernel extends GaugedKernel {
  readonly containerId: ContainerId;
  /** What it was given; the limit where the system sets none. */
  readonly memoryBytes: string | null;
}

interface KernelStatisticsParts {
  /** Kernels of this agent that run now. */
  readonly running: () => readonly MeasuredKernel[];
  /** What kernels use, of this agent and maybe others; several may get the same reading. */
  readonly read: () => Promise<KernelReading>;
  readonly gauges: UtilizationGauges;
  /** Null: only the gauges. */
  readonly sink: StatisticsSink | null;
}

type ProcessStatisticsParts = Pick<KernelStatisticsParts, 'running' | 'read'> & {
  readonly sink: StatisticsSink;
};

/** CPU milliseconds of one second of one core. */
const FULL_CORE = new Decimal(1000);

/** What the kernels of one agent use, all of them in one pass (spec/events-and-stores.md 5.4). */
export class KernelStatistics {
  readonly #parts: KernelStatisticsParts;
  readonly #series = new Map<KernelId, { readonly metrics: MetricSeries; readonly counters: Counters }>();
  #readAtMs: number | null = null;

  constructor(parts: KernelStatisticsParts) {
    this.#parts = parts;
  }

  /** @throws the reading's and the sink's error. */
  async collect(): Promise<void> {
    const { read, gauges, sink } = this.#parts;
    const { usages, atMs } = await read();
    const running = new Map(this.#parts.running().map((kernel) => [kernel.kernelId, kernel]));
    forgetOthers(this.#series, running);
    // One that this agent has taken before would count as a stop of everything that grows.
    const isNew = atMs !== this.#readAtMs;
    this.#readAtMs = atMs;
    const records = new Map<KernelId, StatisticsRecord>();
    for (const [kernelId, kernel] of running) {
      const usage = usages.get(kernelId);
      if (!usage) continue;
      const known = this.#series.get(kernelId) ?? {
        metrics: new MetricSeries('first-value'),
        counters: new Counters(),
      };
      this.#series.set(kernelId, known);
      if (isNew || known.metrics.size === 0) observe(known.metrics, known.counters, usage, kernel, atMs);
      gauges.kernel(kernel, known.metrics.raw(), atMs);
      records.set(kernelId, known.metrics.valueMaps());
    }
    gauges.expire(atMs);
    if (records.size > 0) await sink?.kernels(records);
  }
}

/** The same for each process of the kernels (spec/events-and-stores.md 5.5). */
export class ProcessStatistics {
  readonly #parts: ProcessStatisticsParts;
  readonly #series = new Map<KernelId, Map<number, MetricSeries>>();
  #readAtMs: number | null = null;

  constructor(parts: ProcessStatisticsParts) {
    this.#parts = parts;
  }

  /** @throws the reading's and the sink's error. */
  async collect(): Promise<void> {
    const { read, sink } = this.#parts;
    const { usages, atMs } = await read();
    const running = new Map(this.#parts.running().map((kernel) => [kernel.kernelId, kernel]));
    forgetOthers(this.#series, running);
    const isNew = atMs !== this.#readAtMs;
    this.#readAtMs = atMs;
    const records = new Map<ContainerId, ReadonlyMap<number, StatisticsRecord>>();
    for (const [kernelId, { containerId }] of running) {
      const usage = usages.get(kernelId);
      if (!usage) continue;
      const processes = this.#series.get(kernelId) ?? new Map<number, MetricSeries>();
      this.#series.set(kernelId, processes);
      forgetOthers(processes, usage.processes);
      const ofContainer = new Map<number, StatisticsRecord>();
      for (const [pid, used] of usage.processes) {
        const series = processes.get(pid) ?? new MetricSeries('first-value');
        processes.set(pid, series);
        if (isNew || series.size === 0) observeProcess(series, used, atMs);
        ofContainer.set(pid, series.valueMaps());
      }
      records.set(containerId, ofContainer);
    }
    if (records.size > 0) await sink.processes(records);
  }
}

/** Totals by name. */
class Counters {
  readonly #counters = new Map<string, GrowingCounter>();

  total(name: string, reading: number): number {
    const known = this.#counters.get(name);
    if (known) return known.observe(reading);
    this.#counters.set(name, new GrowingCounter(reading));
    return reading;
  }
}

function observe(
  metrics: MetricSeries,
  counters: Counters,
  usage: KernelUsage,
  kernel: MeasuredKernel,
  atMs: number,
): void {
  const add = (name: keyof typeof KERNEL_METRICS, measured: Measurement) => {
    metrics.observe(name, KERNEL_METRICS[name], measured, atMs);
  };
  const cpuMs = new Decimal(counters.total('cpu', usage.cpuMs));
  const limit = usage.memoryLimitBytes ?? kernel.memoryBytes;
  add('cpu_util', { value: cpuMs, capacity: FULL_CORE });
  add('cpu_used', { value: cpuMs, capacity: null });
  add('mem', {
    value: new Decimal(usage.memoryBytes),
    capacity: limit === null ? null : new Decimal(limit),
  });
  add('io_read', { value: new Decimal(counters.total('read', usage.ioReadBytes)), capacity: null });
  add('io_write', { value: new Decimal(counters.total('write', usage.ioWriteBytes)), capacity: null });
  const traffic = (name: 'net_rx' | 'net_tx', bytes: number | undefined) => {
    add(
      name,
      bytes === undefined ? NOTHING : { value: new Decimal(counters.total(name, bytes)), capacity: null },
    );
  };
  traffic('net_rx', usage.traffic?.receivedBytes);
  traffic('net_tx', usage.traffic?.sentBytes);
  add('io_scratch_size', NOTHING);
}

/** Not measured, yet expected by readers. */
const NOTHING: Measurement = { value: ZERO, capacity: null };

function observeProcess(metrics: MetricSeries, usage: ProcessUsage, atMs: number): void {
  const add = (name: keyof typeof PROCESS_METRICS, value: number, capacity: Decimal | null = null) => {
    metrics.observe(name, PROCESS_METRICS[name], { value: new Decimal(value), capacity }, atMs);
  };
  add('cpu_util', usage.cpuMs, FULL_CORE);
  add('cpu_used', usage.cpuMs);
  add('mem', usage.memoryBytes);
  add('io_read', usage.ioReadBytes);
  add('io_write', usage.ioWriteBytes);
}

function forgetOthers<Key>(series: Map<Key, unknown>, present: ReadonlyMap<Key, unknown>): void {
  for (const key of series.keys()) if (!present.has(key)) series.delete(key);
}
