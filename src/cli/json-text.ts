/** JSON of a result: bytes as base64, the codec's values as their text, large integers in full. */
export function jsonText(value: unknown, indent: number): string {
  return JSON.stringify(plain(value), null, indent);
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([key, item]) => [String(key), plain(item)]));
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  // eslint-disable-next-line @typescript-eslint/no-base-to-string -- the codec's values all have a text
  return String(value);
}
