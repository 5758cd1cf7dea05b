/**
 * Where the values of a msgpack map lie. Header values are echoed byte for byte and bodies are opaque, so this
 * reads positions instead of building objects, which also means that nothing a peer announces is ever allocated.
 */

export type MapFault = 'not-msgpack' | 'not-a-map' | 'map-key-type' | 'trailing-bytes';

/** The family of a value, as far as a map header needs to tell them apart. */
export type Family = 'nil' | 'bool' | 'int' | 'float' | 'str' | 'bin' | 'array' | 'map' | 'ext';

/** One value, still encoded. */
export class Slice {
  readonly family: Family;
  /** Items of an array, pairs of a map, otherwise 0. */
  readonly count: number;
  /** Is there a map anywhere inside? */
  readonly holdsMap: boolean;
  /** Where the value starts, where its content starts, and where both end. */
  readonly start: number;
  readonly contentStart: number;
  readonly end: number;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array, start: number, head: Head, end: number, holdsMap: boolean) {
    this.#bytes = bytes;
    this.family = head.family;
    this.count = head.count;
    this.holdsMap = holdsMap;
    this.start = start;
    this.contentStart = start + head.headBytes;
    this.end = end;
  }

  /** The whole value with its msgpack header. */
  get raw(): Uint8Array {
    return this.#bytes.subarray(this.start, this.end);
  }

  /** Bytes after the msgpack header: contents of str, bin and scalars; items of array and map. */
  get content(): Uint8Array {
    return this.#bytes.subarray(this.contentStart, this.end);
  }

  get isEmpty(): boolean {
    return this.contentStart === this.end;
  }

  contentEquals(text: Uint8Array): boolean {
    if (this.end - this.contentStart !== text.length) return false;
    for (let i = 0; i < text.length; i++) if (this.#bytes[this.contentStart + i] !== text[i]) return false;
    return true;
  }
}

export type MapResult =
  | {
      readonly ok: true;
      /** One value for each key asked for, in that order. */
      readonly values: readonly (Slice | undefined)[];
    }
  | { readonly ok: false; readonly fault: MapFault };

/** Nesting beyond this is refused; real headers are flat. */
const MAX_DEPTH = 32;
/** So many values may a map hold in all; a handful is normal. Bounds the time that one message can cost. */
const MAX_VALUES = 4096;

interface Budget {
  values: number;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const NOT_MSGPACK = { ok: false, fault: 'not-msgpack' } as const;

/**
 * Looks keys up in a map that fills `bytes` exactly. Every key must be text or binary, else the whole map is
 * refused; binary ones are never one of ours. Of a repeated key the last value counts, as in Python.
 */
export function sliceMap(bytes: Uint8Array, keys: readonly Uint8Array[]): MapResult {
  const budget: Budget = { values: MAX_VALUES };
  const head = headAt(bytes, 0);
  if (!head) return NOT_MSGPACK;
  if (head.family !== 'map') return notAMap(bytes, budget);
  const values = keys.map((): Slice | undefined => undefined);
  let fault: MapFault | undefined;
  let at = head.headBytes;
  for (let i = 0; i < head.count; i++) {
    const key = sliceAt(bytes, at, 0, budget);
    const value = key && sliceAt(bytes, key.end, 0, budget);
    if (!value) return NOT_MSGPACK;
    at = value.end;
    if (key.family !== 'str' && key.family !== 'bin') fault ??= 'map-key-type';
    if (key.family !== 'str') continue;
    const index = keys.findIndex((wanted) => key.contentEquals(wanted));
    if (index >= 0) values[index] = value;
    else if (textOf(key) === undefined) fault ??= 'not-msgpack';
  }
  if (at !== bytes.length) return { ok: false, fault: 'trailing-bytes' };
  return fault ? { ok: false, fault } : { ok: true, values };
}

function notAMap(bytes: Uint8Array, budget: Budget): MapResult {
  const value = sliceAt(bytes, 0, 0, budget);
  if (!value) return NOT_MSGPACK;
  return { ok: false, fault: value.end === bytes.length ? 'not-a-map' : 'trailing-bytes' };
}

/** The items of an array that fills `bytes` exactly; undefined for anything else. */
export function sliceArray(bytes: Uint8Array): readonly Slice[] | undefined {
  const budget: Budget = { values: MAX_VALUES };
  const head = headAt(bytes, 0);
  if (head?.family !== 'array') return undefined;
  const items: Slice[] = [];
  let at = head.headBytes;
  for (let i = 0; i < head.count; i++) {
    const item = sliceAt(bytes, at, 0, budget);
    if (!item) return undefined;
    items.push(item);
    at = item.end;
  }
  return at === bytes.length ? items : undefined;
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
  const { raw } = slice;
  const tag = raw[0] ?? 0;
  if (tag <= 0x7f) return tag;
  if (tag >= 0xe0) return tag - 0x100;
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
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
      return !slice.isEmpty;
    case 'array':
    case 'map':
      return slice.count > 0;
    case 'ext':
      return true;
  }
}

interface Head {
  readonly family: Family;
  /** Length of tag, length field and extension code. */
  readonly headBytes: number;
  readonly contentBytes: number;
  readonly count: number;
}

function sliceAt(bytes: Uint8Array, start: number, depth: number, budget: Budget): Slice | undefined {
  budget.values -= 1;
  if (depth > MAX_DEPTH || budget.values < 0) return undefined;
  const head = headAt(bytes, start);
  if (!head) return undefined;
  let end = start + head.headBytes + head.contentBytes;
  let holdsMap = head.family === 'map';
  const items = head.family === 'map' ? head.count * 2 : head.count;
  for (let i = 0; i < items; i++) {
    const item = sliceAt(bytes, end, depth + 1, budget);
    if (!item) return undefined;
    holdsMap ||= item.holdsMap;
    end = item.end;
  }
  return end > bytes.length ? undefined : new Slice(bytes, start, head, end, holdsMap);
}

const sized = (family: Family, headBytes: number, contentBytes: number | undefined): Head | undefined =>
  contentBytes === undefined ? undefined : { family, headBytes, contentBytes, count: 0 };
const counted = (family: Family, headBytes: number, count: number | undefined): Head | undefined =>
  count === undefined ? undefined : { family, headBytes, contentBytes: 0, count };

/** Undefined at the end of the bytes, for a length field that is cut off, and for the byte that starts no value. */
function headAt(bytes: Uint8Array, at: number): Head | undefined {
  const tag = bytes[at];
  if (tag === undefined) return undefined;
  if (tag <= 0x7f || tag >= 0xe0) return sized('int', 1, 0);
  if (tag <= 0x8f) return counted('map', 1, tag & 0x0f);
  if (tag <= 0x9f) return counted('array', 1, tag & 0x0f);
  if (tag <= 0xbf) return sized('str', 1, tag & 0x1f);
  switch (tag) {
    case 0xc0:
      return sized('nil', 1, 0);
    case 0xc2:
    case 0xc3:
      return sized('bool', 1, 0);
    case 0xc4:
    case 0xc5:
    case 0xc6: {
      const size = 2 ** (tag - 0xc4);
      return sized('bin', 1 + size, unsigned(bytes, at + 1, size));
    }
    case 0xc7:
    case 0xc8:
    case 0xc9: {
      const size = 2 ** (tag - 0xc7);
      return sized('ext', 2 + size, unsigned(bytes, at + 1, size));
    }
    case 0xca:
    case 0xcb:
      return sized('float', 1, tag === 0xca ? 4 : 8);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
      return sized('int', 1, 2 ** (tag - 0xcc));
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
      return sized('int', 1, 2 ** (tag - 0xd0));
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
      return sized('ext', 2, 2 ** (tag - 0xd4));
    case 0xd9:
    case 0xda:
    case 0xdb: {
      const size = 2 ** (tag - 0xd9);
      return sized('str', 1 + size, unsigned(bytes, at + 1, size));
    }
    case 0xdc:
    case 0xdd: {
      const size = 2 ** (tag - 0xdb);
      return counted('array', 1 + size, unsigned(bytes, at + 1, size));
    }
    case 0xde:
    case 0xdf: {
      const size = 2 ** (tag - 0xdd);
      return counted('map', 1 + size, unsigned(bytes, at + 1, size));
    }
    default:
      return undefined;
  }
}

/** Big-endian number of 1, 2 or 4 bytes; undefined when the bytes end before. */
function unsigned(bytes: Uint8Array, at: number, size: number): number | undefined {
  if (at + size > bytes.length) return undefined;
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}
