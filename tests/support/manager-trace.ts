import { Decimal, ImageRef, ResourceSlot, Uuid } from '../../src/codec/index.js';
import { readVectors } from './vectors.js';

/** One call of an unmodified manager 25.17.1, and what an original agent answered. */
export interface TracedCall {
  readonly method: string;
  readonly body: unknown;
  readonly result: unknown;
}

/** The calls of `manager-session-trace.json` in their order, as values of the codec; `rename` makes ids fresh. */
export function managerTrace(rename: (id: string) => string = (id) => id): readonly TracedCall[] {
  const { calls } = readVectors<{ calls: readonly TracedCall[] }>('manager-session-trace.json');
  const renamed = JSON.stringify(calls).replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, rename);
  return (JSON.parse(renamed) as readonly TracedCall[]).map(({ method, body, result }) => ({
    method,
    body: fromTrace(body),
    result: fromTrace(result),
  }));
}

/** `{"$Type": text}` and keys `"$Type:text"` of the trace as values. */
function fromTrace(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromTrace);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value);
  const [[key, inner] = ['', null]] = entries;
  switch (key) {
    case '$ImageRef': {
      const match = /^(?<registry>[^/]+)\/(?<project>[^/]+)\/(?<name>[^:]+):(?<tag>.+)$/.exec(String(inner));
      const { registry = '', project = '', name = '', tag = '' } = match?.groups ?? {};
      return new ImageRef({ registry, project, name, tag, architecture: 'x86_64', isLocal: true });
    }
    case '$Decimal':
      return new Decimal(String(inner));
    case '$ResourceSlot':
      return new ResourceSlot(
        Object.entries(inner as Record<string, { $Decimal: string }>).map(([k, v]) => [k, v.$Decimal]),
      );
    default:
  }
  if (key.startsWith('$UUID:'))
    return new Map(entries.map(([k, v]) => [new Uuid(k.replace('$UUID:', '')), fromTrace(v)]));
  return Object.fromEntries(entries.map(([k, v]) => [k.replace('$SlotName:', ''), fromTrace(v)]));
}

/** Types at every place, keys included but for device numbers; the values do not matter. */
export function shapeOf(value: unknown): unknown {
  if (value === null) return 'nil';
  if (Array.isArray(value)) return value.map(shapeOf);
  if (value instanceof Map) return shapeOf(Object.fromEntries(value as Map<string, unknown>));
  if (typeof value !== 'object') return typeof value;
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return value.constructor.name;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key.replace(/^\d+$/, '#'), shapeOf(item)]),
  );
}
