import type { AgentId } from '../core/ids.js';
import type { DeviceMeasure } from '../resources/index.js';
import { Decimal, parseDecimal, ZERO } from '../resources/quantity/decimal.js';
import { deviceMetric, NODE_METRICS } from './catalogue.js';
import { type Measurement, type MetricShape, MetricSeries } from './metric.js';
import type { NodeReading } from './node-reader.js';
import type { NodeRecord, StatisticsSink } from './sink.js';
import type { UtilizationGauges } from './utilization-gauges.js';

interface NodeStatisticsParts {
  readonly agentId: AgentId;
  /** The whole node; several agents may get the same reading. */
  readonly read: () => Promise<NodeReading>;
  /** This agent's part of what the device plugins measure. */
  readonly measuresOf: (measured: NodeReading['devices']) => readonly DeviceMeasure[];
  /** By which the node's own readings are multiplied to become this agent's; asked each time. */
  readonly scalingFactor: (slotName: 'cpu' | 'mem') => string;
  readonly gauges: UtilizationGauges;
  /** Null: only the gauges. */
  readonly sink: StatisticsSink | null;
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
  #readAtMs: number | null = null;

  constructor(parts: NodeStatisticsParts) {
    this.#parts = parts;
  }

  /** One round. What cannot be read is left out. @throws the sink's error. */
  async collect(): Promise<void> {
    const { agentId, read, sink } = this.#parts;
    const reading = await read();
    // One that this agent has taken before would count as a stop of everything that grows.
    if (reading.atMs !== this.#readAtMs) this.#observe(reading);
    this.#readAtMs = reading.atMs;
    await sink?.node(agentId, this.#record());
  }

  #observe(reading: NodeReading): void {
    const { gauges } = this.#parts;
    const measures = new Map<string, NodeMeasure>([
      ...this.#cpu(reading),
      ...this.#plugins(reading),
      ...this.#disk(reading),
      ...this.#traffic(reading),
    ]);
    for (const [key, { shape, devices, value, capacity }] of measures) {
      this.#node.observe(key, shape, { value, capacity }, reading.atMs);
      const series = this.#devices.get(key) ?? new MetricSeries('as-measured');
      this.#devices.set(key, series);
      series.keepOnly(new Set(devices.keys()));
      for (const [deviceId, measured] of devices) {
        series.observe(deviceId, shape, measured, reading.atMs);
        gauges.device(key, deviceId, measured);
      }
    }
  }

  #record(): NodeRecord {
    return {
      node: this.#node.valueMaps(),
      devices: Object.fromEntries([...this.#devices].map(([key, series]) => [key, series.valueMaps()])),
    };
  }

  #cpu({ cpu }: NodeReading): readonly [string, NodeMeasure][] {
    if (cpu === null) return [];
    const elapsedMs = this.#cpuReadAtMs === null ? 0 : cpu.atMs - this.#cpuReadAtMs;
    this.#cpuReadAtMs = cpu.atMs;
    let total = 0;
    for (const time of cpu.timesMs.values()) total += time;
    const of = this.#scaler('cpu');
    const devices = new Map([...cpu.timesMs].map(([index, time]) => [index, of(time, elapsedMs)]));
    return [['cpu_util', { shape: NODE_METRICS.cpu_util, ...of(total, elapsedMs), devices }]];
  }

  #disk({ disks }: NodeReading): readonly [string, NodeMeasure][] {
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

  #traffic({ traffic }: NodeReading): readonly [string, NodeMeasure][] {
    if (traffic === null) return [];
    const of = this.#scaler('mem');
    const measure = (shape: MetricShape, bytes: bigint): NodeMeasure => {
      const measured = of(bytes, null);
      return { shape, ...measured, devices: new Map([['node', measured]]) };
    };
    return [
      ['net_rx', measure(NODE_METRICS.net_rx, traffic.receivedBytes)],
      ['net_tx', measure(NODE_METRICS.net_tx, traffic.sentBytes)],
    ];
  }

  /** Scaled already. */
  #plugins({ devices: answers }: NodeReading): readonly [string, NodeMeasure][] {
    return this.#parts.measuresOf(answers).map(({ key, unit, value, capacity, perDevice }) => [
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
