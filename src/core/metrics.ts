/** Label values of one sample. */
export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  increment(labels?: Labels, by?: number): void;
  /** One series, looked up once; see `counterSeries`. */
  series?(labels: Labels): CounterSeries;
}
export interface CounterSeries {
  increment(): void;
}
export interface Gauge {
  set(value: number, labels?: Labels): void;
  add(by: number, labels?: Labels): void;
  /** Takes one series out of the exposition; one that is not there is fine. */
  remove(labels: Labels): void;
  /** One series, looked up once; see `gaugeSeries`. */
  series?(labels: Labels): GaugeSeries;
}
export interface GaugeSeries {
  set(value: number): void;
}
export interface Histogram {
  observe(value: number, labels?: Labels): void;
}

export interface MetricDefinition {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
}

/** Declares metrics; asking twice for one name gives the same metric. Implemented by `observe/metrics`. */
export interface Metrics {
  counter(definition: MetricDefinition): Counter;
  gauge(definition: MetricDefinition): Gauge;
  histogram(definition: MetricDefinition & { readonly buckets: readonly number[] }): Histogram;
}

export const noMetrics: Metrics = {
  counter: () => ({ increment: () => undefined }),
  gauge: () => ({ set: () => undefined, add: () => undefined, remove: () => undefined }),
  histogram: () => ({ observe: () => undefined }),
};

/** For what is counted with every message: the labels are looked up once instead of each time. */
export function counterSeries(counter: Counter, labels: Labels): CounterSeries {
  return (
    counter.series?.(labels) ?? {
      increment: () => {
        counter.increment(labels);
      },
    }
  );
}

/** As `counterSeries`. */
export function gaugeSeries(gauge: Gauge, labels: Labels): GaugeSeries {
  return (
    gauge.series?.(labels) ?? {
      set: (value) => {
        gauge.set(value, labels);
      },
    }
  );
}
