/**
 * Where the values of a msgpack map lie. Header values are echoed byte for byte and bodies are opaque, so this
 * reads positions instead of building objects, which also means that nothing a peer announces is ever allocated.
 */

export type MapFault = 'not-msgpack' | 'not-a-map' | 'map-key-type' | 'trailing-bytes';

/** The family of a value, as far as a map header needs to tell them apart. */
export type Family = 'nil' | 'bool' | 'int' | 'float' | 'str' | 'bin' | 'array' | 'map' | 'ext';

/** One value, still encoded. */
export interface Slice {
  readonly family: Family;
  /** The whole value with its msgpack header. */
  readonly raw: Uint8Array;
  /** Bytes after the msgpack header: contents of str, bin and scalars; items of array and map. */
  readonly content: Uint8Array;
  /** Items of an array, pairs of a map, otherwise 0. */
  readonly count: number;
  /** Is there a map anywhere inside? */
  readonly holdsMap: boolean;
}

export type MapResult =
  | { readonly ok: true; readonly entries: ReadonlyMap<string, Slice> }
  | { readonly ok: false; readonly fault: MapFault };

/** Nesting beyond this is refused; real headers are flat. */
const MAX_DEPTH = 32;
/** So many values may a map hold in all; a handful is normal. Bounds the time that one message can cost. */
const MAX_VALUES = 4096;

interface Budget {
  values: number;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Splits a map that fills `bytes` exactly. Keys must be text or binary; binary ones are never one of ours and are
 * left out. Of a repeated key the last value counts, as in Python.
 */
export function sliceMap(bytes: Uint8Array): MapResult {
  const budget: Budget = { values: MAX_VALUES };
  const map = sliceAt(bytes, 0, 0, budget);
  if (!map) return { ok: false, fault: 'not-msgpack' };
  if (map.raw.length !== bytes.length) return { ok: false, fault: 'trailing-bytes' };
  if (map.family !== 'map') return { ok: false, fault: 'not-a-map' };
  const items = sliceItems(map.content, map.count * 2, budget);
  if (!items) return { ok: false, fault: 'not-msgpack' };
  const entries = new Map<string, Slice>();
  for (let i = 0; i + 1 < items.length; i += 2) {
    const key = items[i];
    const value = items[i + 1];
    if (!key || !value || (key.family !== 'str' && key.family !== 'bin'))
      return { ok: false, fault: 'map-key-type' };
    if (key.family === 'bin') continue;
    const name = textOf(key);
    if (name === undefined) return { ok: false, fault: 'not-msgpack' };
    entries.set(name, value);
  }
  return { ok: true, entries };
}

/** The items of an array that fills `bytes` exactly; undefined for anything else. */
export function sliceArray(bytes: Uint8Array): readonly Slice[] | undefined {
  const budget: Budget = { values: MAX_VALUES };
  const array = sliceAt(bytes, 0, 0, budget);
  if (array?.family !== 'array' || array.raw.length !== bytes.length) return undefined;
  return sliceItems(array.content, array.count, budget);
}

/** Text of a str; undefined for other families and for bytes that are not UTF-8. */
export function textOf(slice: Slice): string | undefined {
  if (slice.family !== 'str') return undefined;
  try {
    return utf8.decode(slice.content);
  } catch {
    return undefined;
  }
}

/** Number of an int, float or bool (as 0 or 1); undefined for other families. Inexact above 2^53. */
export function numberOf(slice: Slice): number | undefined {
  const view = viewOf(slice.raw);
  const tag = view.getUint8(0);
  if (tag <= 0x7f) return tag;
  if (tag >= 0xe0) return tag - 0x100;
  switch (tag) {
    case 0xc2:
      return 0;
    case 0xc3:
      return 1;
    case 0xca:
      return view.getFloat32(1);
    case 0xcb:
      return view.getFloat64(1);
    case 0xcc:
      return view.getUint8(1);
    case 0xcd:
      return view.getUint16(1);
    case 0xce:
      return view.getUint32(1);
    case 0xcf:
      return Number(view.getBigUint64(1));
    case 0xd0:
      return view.getInt8(1);
    case 0xd1:
      return view.getInt16(1);
    case 0xd2:
      return view.getInt32(1);
    case 0xd3:
      return Number(view.getBigInt64(1));
    default:
      return undefined;
  }
}

/** Truth as Python sees it: nil, false, zero and everything empty are false. */
export function isTruthy(slice: Slice): boolean {
  switch (slice.family) {
    case 'nil':
      return false;
    case 'bool':
    case 'int':
    case 'float':
      return numberOf(slice) !== 0;
    case 'str':
    case 'bin':
      return slice.content.length > 0;
    case 'array':
    case 'map':
      return slice.count > 0;
    case 'ext':
      return true;
  }
}

function sliceItems(bytes: Uint8Array, count: number, budget: Budget): Slice[] | undefined {
  const items: Slice[] = [];
  let offset = 0;
  for (let i = 0; i < count; i++) {
    const item = sliceAt(bytes, offset, 0, budget);
    if (!item) return undefined;
    items.push(item);
    offset += item.raw.length;
  }
  return items;
}

interface Head {
  readonly family: Family;
  /** Length of tag, length field and extension code. */
  readonly headBytes: number;
  readonly contentBytes: number;
  readonly count: number;
}

function sliceAt(bytes: Uint8Array, offset: number, depth: number, budget: Budget): Slice | undefined {
  budget.values -= 1;
  if (depth > MAX_DEPTH || budget.values < 0) return undefined;
  const head = headAt(bytes, offset);
  if (!head) return undefined;
  const start = offset + head.headBytes;
  let end = start + head.contentBytes;
  let holdsMap = head.family === 'map';
  const items = head.family === 'map' ? head.count * 2 : head.count;
  for (let i = 0; i < items; i++) {
    const item = sliceAt(bytes, end, depth + 1, budget);
    if (!item) return undefined;
    holdsMap ||= item.holdsMap;
    end += item.raw.length;
  }
  if (end > bytes.length) return undefined;
  return {
    family: head.family,
    raw: bytes.subarray(offset, end),
    content: bytes.subarray(start, end),
    count: head.count,
    holdsMap,
  };
}

const scalar = (family: Family, contentBytes: number): Head => ({
  family,
  headBytes: 1,
  contentBytes,
  count: 0,
});
const sized = (family: Family, headBytes: number, contentBytes: number): Head => ({
  family,
  headBytes,
  contentBytes,
  count: 0,
});
const counted = (family: Family, headBytes: number, count: number): Head => ({
  family,
  headBytes,
  contentBytes: 0,
  count,
});

function headAt(bytes: Uint8Array, offset: number): Head | undefined {
  if (offset >= bytes.length) return undefined;
  try {
    return readHead(viewOf(bytes), offset);
  } catch {
    // DataView refuses to read a length field beyond the end.
    return undefined;
  }
}

function readHead(view: DataView, at: number): Head | undefined {
  const tag = view.getUint8(at);
  if (tag <= 0x7f || tag >= 0xe0) return scalar('int', 0);
  if (tag <= 0x8f) return counted('map', 1, tag & 0x0f);
  if (tag <= 0x9f) return counted('array', 1, tag & 0x0f);
  if (tag <= 0xbf) return sized('str', 1, tag & 0x1f);
  switch (tag) {
    case 0xc0:
      return scalar('nil', 0);
    case 0xc2:
    case 0xc3:
      return scalar('bool', 0);
    case 0xc4:
      return sized('bin', 2, view.getUint8(at + 1));
    case 0xc5:
      return sized('bin', 3, view.getUint16(at + 1));
    case 0xc6:
      return sized('bin', 5, view.getUint32(at + 1));
    case 0xc7:
      return sized('ext', 3, view.getUint8(at + 1));
    case 0xc8:
      return sized('ext', 4, view.getUint16(at + 1));
    case 0xc9:
      return sized('ext', 6, view.getUint32(at + 1));
    case 0xca:
      return scalar('float', 4);
    case 0xcb:
      return scalar('float', 8);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
      return scalar('int', 2 ** (tag - 0xcc));
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
      return scalar('int', 2 ** (tag - 0xd0));
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
      return sized('ext', 2, 2 ** (tag - 0xd4));
    case 0xd9:
      return sized('str', 2, view.getUint8(at + 1));
    case 0xda:
      return sized('str', 3, view.getUint16(at + 1));
    case 0xdb:
      return sized('str', 5, view.getUint32(at + 1));
    case 0xdc:
      return counted('array', 3, view.getUint16(at + 1));
    case 0xdd:
      return counted('array', 5, view.getUint32(at + 1));
    case 0xde:
      return counted('map', 3, view.getUint16(at + 1));
    case 0xdf:
      return counted('map', 5, view.getUint32(at + 1));
    default:
      return undefined;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
