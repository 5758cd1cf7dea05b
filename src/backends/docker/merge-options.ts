import { z } from 'zod';

const mapSchema = z.record(z.string(), z.unknown());
const isMap = (value: unknown): value is Record<string, unknown> =>
  !Array.isArray(value) && mapSchema.safeParse(value).success;

/** Maps are merged key by key, lists are put one after the other, all else is replaced (spec/kernel-lifecycle.md 2.16). */
export function mergeOptions<T extends object>(base: T, extra: Readonly<Record<string, unknown>>): T {
  const merged: Record<string, unknown> = { ...(base as Record<string, unknown>) };
  for (const [key, value] of Object.entries(extra)) {
    const before = merged[key];
    if (isMap(before) && isMap(value)) merged[key] = mergeOptions(before, value);
    else if (Array.isArray(before) && Array.isArray(value))
      merged[key] = [...(before as unknown[]), ...(value as unknown[])];
    else merged[key] = value;
  }
  return merged as T;
}
