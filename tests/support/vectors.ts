import { readFileSync } from 'node:fs';

/** One file of the golden vectors. The type is the reader's promise about its shape. */
export function readVectors<Shape>(name: string): Shape {
  return JSON.parse(readFileSync(new URL(`../fixtures/vectors/${name}`, import.meta.url), 'utf8')) as Shape;
}

/** Values of the vectors that JSON cannot express: `{"$bytes": hex}` and `{"$repeat": [unit, count]}`. */
export function fromNotation(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromNotation);
  if (typeof value !== 'object' || value === null) return value;
  if ('$bytes' in value && typeof value.$bytes === 'string') return Buffer.from(value.$bytes, 'hex');
  if ('$repeat' in value && Array.isArray(value.$repeat)) {
    const [unit, count] = value.$repeat as [unknown, number];
    const once = fromNotation(unit);
    if (Buffer.isBuffer(once)) return Buffer.concat(Array.from({ length: count }, () => once));
    return String(once).repeat(count);
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromNotation(item)]));
}
