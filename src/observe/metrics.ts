import * as prometheus from 'prom-client';
import { type Clock, systemClock } from '../core/clock.js';
import { InvariantError } from '../core/errors.js';
import type { Counter, Gauge, Histogram, Labels, MetricDefinition, Metrics } from '../core/metrics.js';
import { CreatedSeries } from './created-series.js';
import { Series } from './series.js';

type Kind = 'counter' | 'gauge' | 'histogram';

interface Declared {
  readonly kind: Kind;
  readonly labels: readonly string[];
  readonly metric: Counter | Gauge | Histogram;
}

export interface PrometheusMetricsOptions {
  /**
   * Hears of a sample whose labels are not the declared ones; the sample is dropped. Default: throws it, which is
   * right for tests. The daemon logs instead, so that no call fails for the sake of a metric.
   */
  readonly onMisuse?: (error: InvariantError) => void;
  /** Default: the system's. */
  readonly clock?: Pick<Clock, 'nowMs'>;
}

/** Metrics in a Prometheus registry of their own: several may live in one process. */
export class PrometheusMetrics implements Metrics {
  readonly #registry = new prometheus.Registry();
  readonly #declared = new Map<string, Declared>();
  readonly #onMisuse: (error: InvariantError) => void;
  readonly #nowMs: () => number;

  constructor(options: PrometheusMetricsOptions = {}) {
    this.#nowMs = () => (options.clock ?? systemClock).nowMs();
    this.#onMisuse =
      options.onMisuse ??
      ((error) => {
        throw error;
      });
  }

  /** What `text` is served as. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics in the Prometheus text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** Adds the process's own metrics: memory, CPU time, event loop lag. Once per registry. */
  collectProcessMetrics(): void {
    prometheus.collectDefaultMetrics({ register: this.#registry });
  }

  counter(definition: MetricDefinition): Counter {
    return this.#declare('counter', definition, (configuration, check) => {
      const series = new Series(
        () => ({ counted: 0, increment: count }),
        (labels, one) => {
          if (one.counted > 0 && check(labels)) {
            metric.inc(labels, one.counted);
            created?.note(labels);
          }
          one.counted = 0;
        },
      );
      const metric = new prometheus.Counter({ ...configuration, collect: series.collect });
      // Read after the counter, which hears of its series when it is read.
      const created = this.#createdOf(definition);
      return {
        increment: (labels = {}, by = 1) => {
          if (!check(labels)) return;
          metric.inc(labels, by);
          created?.note(labels);
        },
        series: (labels) => series.of(labels),
      } satisfies Counter;
    });
  }

  gauge(definition: MetricDefinition): Gauge {
    return this.#declare('gauge', definition, (configuration, check) => {
      const series = new Series(
        () => ({ value: undefined as number | undefined, set: hold }),
        (labels, one) => {
          if (one.value !== undefined && check(labels)) metric.set(labels, one.value);
          one.value = undefined;
        },
      );
      const metric = new prometheus.Gauge({ ...configuration, collect: series.collect });
      return {
        set: (value, labels = {}) => {
          if (check(labels)) metric.set(labels, value);
        },
        add: (by, labels = {}) => {
          if (check(labels)) metric.inc(labels, by);
        },
        remove: (labels) => {
          if (check(labels)) metric.remove(labels);
        },
        series: (labels) => series.of(labels),
      } satisfies Gauge;
    });
  }

  histogram(definition: MetricDefinition & { readonly buckets: readonly number[] }): Histogram {
    return this.#declare('histogram', definition, (configuration, check) => {
      const metric = new prometheus.Histogram({ ...configuration, buckets: [...definition.buckets] });
      const created = this.#createdOf(definition);
      return {
        observe: (value, labels = {}) => {
          if (!check(labels)) return;
          metric.observe(labels, value);
          created?.note(labels);
        },
      } satisfies Histogram;
    });
  }

  #createdOf({ name, help, labels = [] }: MetricDefinition): CreatedSeries | null {
    return CreatedSeries.for({ name, help, labels, registry: this.#registry, nowMs: this.#nowMs });
  }

  /** @throws InvariantError when the name is taken by a metric of another kind or with other labels. */
  #declare<Metric extends Counter | Gauge | Histogram>(
    kind: Kind,
    { name, help, labels = [] }: MetricDefinition,
    make: (
      configuration: { name: string; help: string; labelNames: string[]; registers: [prometheus.Registry] },
      check: (labels: Labels) => boolean,
    ) => Metric,
  ): Metric {
    const known = this.#declared.get(name);
    if (known) {
      if (known.kind !== kind || !sameNames(known.labels, labels))
        throw new InvariantError(
          `metric ${name} is declared twice: a ${known.kind} of {${known.labels.join(', ')}} and a ${kind} of {${labels.join(', ')}}`,
        );
      return known.metric as Metric;
    }
    const check = (given: Labels): boolean => {
      if (sameNames(Object.keys(given), labels)) return true;
      this.#onMisuse(
        new InvariantError(
          `metric ${name} has the labels {${labels.join(', ')}} but was given {${Object.keys(given).join(', ')}}`,
        ),
      );
      return false;
    };
    const configuration = {
      name,
      help,
      labelNames: [...labels],
      registers: [this.#registry] as [prometheus.Registry],
    };
    const metric = make(configuration, check);
    this.#declared.set(name, { kind, labels, metric });
    return metric;
  }
}

function count(this: { counted: number }): void {
  this.counted += 1;
}

function hold(this: { value: number | undefined }, value: number): void {
  this.value = value;
}

const sameNames = (left: readonly string[], right: readonly string[]): boolean =>
  left.length === right.length && left.every((name) => right.includes(name));
