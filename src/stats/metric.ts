import type { Decimal } from '../resources/quantity/decimal.js';
import { numberText, percentText } from './number-text.js';
import { RunningStatistics } from './running-statistics.js';

export type UnitHint = 'msec' | 'percent' | 'bytes' | 'bps' | 'count';
export type StatisticsFilter = 'min' | 'max' | 'sum' | 'avg' | 'diff' | 'rate';

/** How the values of one metric become what is published. */
export interface MetricShape {
  readonly unit: UnitHint;
  /** `current` is derived from the raw values. */
  readonly hook?: 'diff' | 'rate';
  /** Which of the running statistics are published. */
  readonly filters: readonly StatisticsFilter[];
}

/** One metric's published form: all numbers are decimal texts (spec/events-and-stores.md 5.2). */
export type ValueMap = Readonly<Record<string, string | null>>;

export interface Measurement {
  readonly value: Decimal;
  readonly capacity: Decimal | null;
}

/**
 * One series. The first value of one with a hook is published as 0: the raw counter, which the original shows once, is
 * no rate.
 */
export class Metric {
  readonly #shape: MetricShape;
  readonly #statistics: RunningStatistics;
  #latest: Measurement;

  constructor(shape: MetricShape, first: Measurement, atMs: number) {
    this.#shape = shape;
    this.#latest = first;
    this.#statistics = new RunningStatistics(first.value, atMs);
  }

  observe(measurement: Measurement, atMs: number): void {
    this.#latest = measurement;
    this.#statistics.observe(measurement.value, atMs);
  }

  /** As it was measured, for the utilization gauges. */
  get raw(): Measurement {
    return this.#latest;
  }

  valueMap(): ValueMap {
    const { unit, hook, filters } = this.#shape;
    const { value, capacity } = this.#latest;
    const current = hook === undefined ? value : this.#statistics[hook];
    return {
      current: numberText(current),
      capacity: capacity === null ? null : numberText(capacity),
      pct: percentText(current, capacity),
      unit_hint: unit,
      ...Object.fromEntries(
        filters.map((filter) => [`stats.${filter}`, numberText(this.#statistics[filter])]),
      ),
    };
  }
}

/** The series of one thing that is measured: a kernel, a process, the node, all devices of one metric. */
export class MetricSeries {
  readonly #metrics = new Map<string, Metric>();
  readonly #capacity: 'as-measured' | 'first-value';

  /** `first-value`: what has no capacity is compared with its first value, as containers and processes are. */
  constructor(capacity: 'as-measured' | 'first-value') {
    this.#capacity = capacity;
  }

  observe(key: string, shape: MetricShape, measured: Measurement, atMs: number): void {
    const known = this.#metrics.get(key);
    if (known) known.observe(this.#capacity === 'first-value' ? kept(measured, known) : measured, atMs);
    else
      this.#metrics.set(
        key,
        new Metric(
          shape,
          this.#capacity === 'first-value'
            ? { ...measured, capacity: measured.capacity ?? measured.value }
            : measured,
          atMs,
        ),
      );
  }

  /** Forgets the series of all other keys. */
  keepOnly(keys: ReadonlySet<string>): void {
    for (const key of this.#metrics.keys()) if (!keys.has(key)) this.#metrics.delete(key);
  }

  get size(): number {
    return this.#metrics.size;
  }

  raw(): ReadonlyMap<string, Measurement> {
    return new Map([...this.#metrics].map(([key, metric]) => [key, metric.raw]));
  }

  valueMaps(): Readonly<Record<string, ValueMap>> {
    return Object.fromEntries([...this.#metrics].map(([key, metric]) => [key, metric.valueMap()]));
  }
}

const kept = (measured: Measurement, known: Metric): Measurement => ({
  ...measured,
  capacity: measured.capacity ?? known.raw.capacity,
});
