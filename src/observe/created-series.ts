import * as prometheus from 'prom-client';
import type { Labels } from '../core/metrics.js';

/** Metrics of the original: its readers know when each of their series began. */
const WITH_CREATED = /^backendai_/;

interface CreatedSeriesParts {
  /** Of the counter or histogram. */
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly registry: prometheus.Registry;
  readonly nowMs: () => number;
}

/**
 * The gauge beside a counter or histogram that says since when each of its series counts, in seconds since the epoch:
 * `x_created` for `x_total` and for the histogram `x`, as the original's library has it.
 */
export class CreatedSeries {
  readonly #gauge: prometheus.Gauge;
  readonly #labels: readonly string[];
  readonly #nowMs: () => number;
  readonly #known = new Set<string>();

  private constructor({ name, help, labels, registry, nowMs }: CreatedSeriesParts) {
    this.#labels = labels;
    this.#nowMs = nowMs;
    this.#gauge = new prometheus.Gauge({
      name: `${name.replace(/_total$/, '')}_created`,
      help,
      labelNames: [...labels],
      registers: [registry],
    });
    // One without labels begins with its declaration.
    if (labels.length === 0) this.note({});
  }

  /** Null for a metric of ours, which has none. */
  static for(parts: CreatedSeriesParts): CreatedSeries | null {
    return WITH_CREATED.test(parts.name) ? new CreatedSeries(parts) : null;
  }

  /** A sample of this series was taken. */
  note(labels: Labels): void {
    const key = this.#labels.map((label) => labels[label]).join('\0');
    if (this.#known.has(key)) return;
    this.#known.add(key);
    this.#gauge.set(labels, this.#nowMs() / 1000);
  }
}
