import type { Labels } from '../core/metrics.js';

/**
 * Series of one metric that hold their value themselves and hand it over when the metric is read: counting a message
 * costs an addition instead of a search by labels.
 */
export class Series<One> {
  readonly #create: () => One;
  readonly #handOver: (labels: Labels, one: One) => void;
  readonly #known = new Map<string, { readonly labels: Labels; readonly one: One }>();

  constructor(create: () => One, handOver: (labels: Labels, one: One) => void) {
    this.#create = create;
    this.#handOver = handOver;
  }

  /** The same for the same labels. */
  of(labels: Labels): One {
    const key = JSON.stringify(Object.entries(labels).sort());
    let series = this.#known.get(key);
    if (!series) {
      series = { labels: { ...labels }, one: this.#create() };
      this.#known.set(key, series);
    }
    return series.one;
  }

  /** To be called before the metric is read. */
  readonly collect = (): void => {
    for (const { labels, one } of this.#known.values()) this.#handOver(labels, one);
  };
}
