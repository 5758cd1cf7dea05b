import type { Clock } from '../core/clock.js';
import type { AgentId } from '../core/ids.js';
import type { DeviceMeasure } from '../resources/index.js';
import { Decimal, parseDecimal, ZERO } from '../resources/quantity/decimal.js';
import { deviceMetric, NODE_METRICS } from './catalogue.js';
import type { DiskUsage } from './disk-usage.js';
import { type Measurement, type MetricShape, MetricSeries } from './metric.js';
import { parseCpuTimes, parseTraffic } from './proc-files.js';
import type { NodeRecord, StatisticsSink } from './sink.js';
import type { UtilizationGauges } from './utilization-gauges.js';

interface NodeStatisticsParts {
  readonly agentId: AgentId;
  /** This agent's part of what the device plugins measure. */
  readonly deviceMeasures: () => Promise<readonly DeviceMeasure[]>;
  /** By which the node's own readings are multiplied to become this agent's; asked each time. */
  readonly scalingFactor: (slotName: 'cpu' | 'mem') => string;
  readonly disks: DiskUsage;
  readonly readText: (path: string) => Promise<string>;
  readonly gauges: UtilizationGauges;
  /** Null: only the gauges. */
  readonly sink: StatisticsSink | null;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

interface NodeMeasure extends Measurement {
  readonly shape: MetricShape;
  readonly devices: ReadonlyMap<string, Measurement>;
}

/** What the node of one agent uses (spec/events-and-stores.md 5.3). */
export class NodeStatistics {
  readonly #parts: NodeStatisticsParts;
  readonly #node = new MetricSeries('as-measured');
  readonly #devices = new Map<string, MetricSeries>();
  #cpuReadAtMs: number | null = null;

  constructor(parts: NodeStatisticsParts) {
    this.#parts = parts;
  }

  /** One round. What cannot be read is left out. @throws the sink's error. */
  async collect(): Promise<void> {
    const { agentId, clock, gauges, sink } = this.#parts;
    const measures = new Map<string, NodeMeasure>(
      (await Promise.all([this.#cpu(), this.#plugins(), this.#disk(), this.#traffic()])).flat(),
    );
    const atMs = clock.monotonicMs();
    for (const [key, { shape, devices, value, capacity }] of measures) {
      this.#node.observe(key, shape, { value, capacity }, atMs);
      const series = this.#devices.get(key) ?? new MetricSeries('as-measured');
      this.#devices.set(key, series);
      series.keepOnly(new Set(devices.keys()));
      for (const [deviceId, measured] of devices) {
        series.observe(deviceId, shape, measured, atMs);
        gauges.device(key, deviceId, measured);
      }
    }
    await sink?.node(agentId, this.#record());
  }

  #record(): NodeRecord {
    return {
      node: this.#node.valueMaps(),
      devices: Object.fromEntries([...this.#devices].map(([key, series]) => [key, series.valueMaps()])),
    };
  }

  async #cpu(): Promise<readonly [string, NodeMeasure][]> {
    const text = await this.#parts.readText('/proc/stat').catch(() => null);
    const atMs = this.#parts.clock.monotonicMs();
    if (text === null) return [];
    const elapsedMs = this.#cpuReadAtMs === null ? 0 : atMs - this.#cpuReadAtMs;
    this.#cpuReadAtMs = atMs;
    const times = parseCpuTimes(text);
    let total = 0;
    for (const time of times.values()) total += time;
    const of = this.#scaler('cpu');
    const devices = new Map([...times].map(([index, time]) => [index, of(time, elapsedMs)]));
    return [['cpu_util', { shape: NODE_METRICS.cpu_util, ...of(total, elapsedMs), devices }]];
  }

  async #disk(): Promise<readonly [string, NodeMeasure][]> {
    const disks = await this.#parts.disks.measure().catch(() => null);
    if (disks === null) return [];
    const of = this.#scaler('mem');
    let used = 0n;
    let capacity = 0n;
    for (const disk of disks) {
      used += disk.usedBytes;
      capacity += disk.capacityBytes;
    }
    const devices = new Map(disks.map((disk) => [disk.device, of(disk.usedBytes, disk.capacityBytes)]));
    return [['disk', { shape: NODE_METRICS.disk, ...of(used, capacity), devices }]];
  }

  async #traffic(): Promise<readonly [string, NodeMeasure][]> {
    const text = await this.#parts.readText('/proc/net/dev').catch(() => null);
    if (text === null) return [];
    const { receivedBytes, sentBytes } = parseTraffic(text);
    const of = this.#scaler('mem');
    const measure = (shape: MetricShape, bytes: bigint): NodeMeasure => {
      const measured = of(bytes, null);
      return { shape, ...measured, devices: new Map([['node', measured]]) };
    };
    return [
      ['net_rx', measure(NODE_METRICS.net_rx, receivedBytes)],
      ['net_tx', measure(NODE_METRICS.net_tx, sentBytes)],
    ];
  }

  /** Scaled already. */
  async #plugins(): Promise<readonly [string, NodeMeasure][]> {
    const measures = await this.#parts.deviceMeasures();
    return measures.map(({ key, unit, value, capacity, perDevice }) => [
      key,
      {
        shape: deviceMetric(unit),
        ...measured(value, capacity),
        devices: new Map(
          Object.entries(perDevice).map(([id, device]) => [id, measured(device.value, device.capacity)]),
        ),
      },
    ]);
  }

  #scaler(slotName: 'cpu' | 'mem') {
    const factor = new Decimal(this.#parts.scalingFactor(slotName));
    return (value: number | bigint, capacity: number | bigint | null): Measurement => ({
      value: decimal(value).times(factor),
      capacity: capacity === null ? null : decimal(capacity).times(factor),
    });
  }
}

const decimal = (value: number | bigint): Decimal => (value === 0 ? ZERO : new Decimal(String(value)));

const measured = (value: string, capacity: string | null): Measurement => ({
  value: parseDecimal(value),
  capacity: capacity === null ? null : parseDecimal(capacity),
});
