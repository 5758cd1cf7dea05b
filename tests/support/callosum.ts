import { unpack, Packr } from 'msgpackr';
import type { Serializer } from '../../src/callosum/index.js';
import type { Counter, Labels, Metrics } from '../../src/core/metrics.js';

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

  value(name: string, labels: Labels = {}): number {
    return this.#values.get(keyOf(name, labels)) ?? 0;
  }

  counter({ name }: { readonly name: string }): Counter {
    return {
      increment: (labels = {}, by = 1) => {
        this.#values.set(keyOf(name, labels), this.value(name, labels) + by);
      },
    };
  }

  gauge({ name }: { readonly name: string }): { set(value: number, labels?: Labels): void } {
    return {
      set: (value, labels = {}) => {
        this.#values.set(keyOf(name, labels), value);
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
