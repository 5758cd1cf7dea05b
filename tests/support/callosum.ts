import { unpack, Packr } from 'msgpackr';
import type { Serializer } from '../../src/callosum/index.js';
import type { Counter, Gauge, Labels, Metrics } from '../../src/core/metrics.js';

const packr = new Packr({ useRecords: false, variableMapSize: true });

/** Plain msgpack, strict about trailing bytes, as Python peers without extension types speak it. */
export const msgpack: Serializer = {
  pack: (value) => {
    if (typeof value === 'function') throw new TypeError('a function has no msgpack form');
    return packr.pack(value);
  },
  unpack: (bytes) => unpack(bytes) as unknown,
};

/** Metrics that a test can read: `value('name', {label: 'x'})`. */
export class RecordedMetrics implements Metrics {
  readonly #values = new Map<string, number>();
  readonly #waiting = new Set<() => void>();

  value(name: string, labels: Labels = {}): number {
    return this.#values.get(keyOf(name, labels)) ?? 0;
  }

  /** Resolves as soon as the metric has a value that fits. */
  async until(name: string, labels: Labels, fits: (value: number) => boolean): Promise<void> {
    while (!fits(this.value(name, labels)))
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
      });
  }

  #set(key: string, value: number): void {
    this.#values.set(key, value);
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  counter({ name }: { readonly name: string }): Counter {
    return {
      increment: (labels = {}, by = 1) => {
        this.#set(keyOf(name, labels), this.value(name, labels) + by);
      },
    };
  }

  gauge({ name }: { readonly name: string }): Gauge {
    return {
      set: (value, labels = {}) => {
        this.#set(keyOf(name, labels), value);
      },
      add: (by, labels) => {
        throw new Error(`not counted: ${String(by)} ${JSON.stringify(labels)}`);
      },
      remove: (labels) => {
        this.#values.delete(keyOf(name, labels));
      },
    };
  }

  histogram(): { observe(): void } {
    return { observe: () => undefined };
  }
}

function keyOf(name: string, labels: Labels): string {
  return `${name}${JSON.stringify(Object.entries(labels).sort())}`;
}
