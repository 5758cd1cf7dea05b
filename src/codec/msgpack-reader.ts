import { DecodeError } from './errors.js';
import type { CodecLimits } from './limits.js';

/** Turns an extension's code and payload into a value. */
export type ExtensionReader = (code: number, payload: Uint8Array) => unknown;

/**
 * Reads one msgpack value and insists that nothing follows. msgpackr is not used here because the dialect needs what
 * it does not offer: bounds on nesting and counts, strict UTF-8, and keys of any type.
 *
 * Maps with text keys only become objects without a prototype, so that `__proto__` is a key like any other; other
 * maps become a `Map` whose keys are the key's text (a SlotName `cpu` becomes `'cpu'`) where the key is an extension
 * value, and the value itself otherwise. Integers beyond 2^53 become bigint.
 * @throws DecodeError
 */
export function readMsgpack(bytes: Uint8Array, limits: CodecLimits, extension: ExtensionReader): unknown {
  const reader = new MsgpackReader(bytes, limits, extension);
  const value = reader.value(0);
  if (!reader.atEnd) throw new DecodeError('bytes after the end of the value');
  return value;
}

class MsgpackReader {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #limits: CodecLimits;
  readonly #extension: ExtensionReader;
  #position = 0;
  #items = 0;

  constructor(bytes: Uint8Array, limits: CodecLimits, extension: ExtensionReader) {
    this.#bytes = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#limits = limits;
    this.#extension = extension;
  }

  get atEnd(): boolean {
    return this.#position === this.#bytes.length;
  }

  value(depth: number): unknown {
    if (++this.#items > this.#limits.maxItems)
      throw new DecodeError(`more than ${String(this.#limits.maxItems)} values in one message`);
    const tag = this.#bytes[this.#advance(1)] ?? 0;
    if (tag <= 0x7f) return tag;
    if (tag >= 0xe0) return tag - 0x100;
    if (tag <= 0x8f) return this.#map(tag & 0x0f, depth);
    if (tag <= 0x9f) return this.#array(tag & 0x0f, depth);
    if (tag <= 0xbf) return this.#text(tag & 0x1f);
    return this.#tagged(tag, depth);
  }

  #tagged(tag: number, depth: number): unknown {
    const view = this.#view;
    switch (tag) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#binary(this.#length(tag - 0xc4));
      case 0xc7:
      case 0xc8:
      case 0xc9:
        return this.#extensionOf(this.#length(tag - 0xc7));
      case 0xca:
        return view.getFloat32(this.#advance(4));
      case 0xcb:
        return view.getFloat64(this.#advance(8));
      case 0xcc:
        return view.getUint8(this.#advance(1));
      case 0xcd:
        return view.getUint16(this.#advance(2));
      case 0xce:
        return view.getUint32(this.#advance(4));
      case 0xcf:
        return narrowed(view.getBigUint64(this.#advance(8)));
      case 0xd0:
        return view.getInt8(this.#advance(1));
      case 0xd1:
        return view.getInt16(this.#advance(2));
      case 0xd2:
        return view.getInt32(this.#advance(4));
      case 0xd3:
        return narrowed(view.getBigInt64(this.#advance(8)));
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#extensionOf(1 << (tag - 0xd4));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#length(tag - 0xd9));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#length(tag - 0xdc + 1), depth);
      case 0xde:
      case 0xdf:
        return this.#map(this.#length(tag - 0xde + 1), depth);
      default:
        throw new DecodeError(`byte 0x${tag.toString(16)} starts no value`);
    }
  }

  #array(length: number, depth: number): unknown[] {
    this.#enter(length, 1, depth);
    const items: unknown[] = [];
    for (let index = 0; index < length; index++) items.push(this.value(depth + 1));
    return items;
  }

  #map(length: number, depth: number): unknown {
    this.#enter(length, 2, depth);
    const keys: unknown[] = [];
    const values: unknown[] = [];
    let onlyText = true;
    for (let index = 0; index < length; index++) {
      const key = this.value(depth + 1);
      if (typeof key !== 'string') onlyText = false;
      keys.push(key);
      values.push(this.value(depth + 1));
    }
    if (!onlyText) return new Map(keys.map((key, index) => [normalisedKey(key), values[index]]));
    const object = Object.create(null) as Record<string, unknown>;
    for (let index = 0; index < length; index++) object[keys[index] as string] = values[index];
    return object;
  }

  /** Every element takes at least one byte, so a count beyond what is left is refused before anything is allocated. */
  #enter(length: number, bytesEach: number, depth: number): void {
    if (depth >= this.#limits.maxDepth)
      throw new DecodeError(`nested deeper than ${String(this.#limits.maxDepth)}`);
    if (length * bytesEach > this.#bytes.length - this.#position)
      throw new DecodeError('the message ends too early');
  }

  #extensionOf(length: number): unknown {
    const code = this.#view.getInt8(this.#advance(1));
    return this.#extension(code, this.#binary(length));
  }

  #binary(length: number): Uint8Array {
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  #text(length: number): string {
    if (length <= SHORT_TEXT_BYTES) {
      const start = this.#advance(length);
      const text = asciiText(this.#bytes, start, this.#position);
      if (text !== undefined) return text;
      this.#position = start;
    }
    try {
      return UTF8.decode(this.#binary(length));
    } catch (error) {
      if (error instanceof DecodeError) throw error;
      throw new DecodeError('text is not UTF-8', { cause: error });
    }
  }

  /** Reads a length of 1, 2 or 4 bytes. */
  #length(size: number): number {
    if (size === 0) return this.#view.getUint8(this.#advance(1));
    if (size === 1) return this.#view.getUint16(this.#advance(2));
    return this.#view.getUint32(this.#advance(4));
  }

  #advance(count: number): number {
    const start = this.#position;
    if (count > this.#bytes.length - start) throw new DecodeError('the message ends too early');
    this.#position += count;
    return start;
  }
}

/** Most texts are names, for which the decoder's own cost is most of the cost. */
const SHORT_TEXT_BYTES = 64;

/** Undefined where a byte is not ASCII. */
function asciiText(bytes: Buffer, start: number, end: number): string | undefined {
  for (let at = start; at < end; at++) if ((bytes[at] ?? 0xff) > 0x7f) return undefined;
  return bytes.toString('latin1', start, end);
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function narrowed(value: bigint): number | bigint {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Number(value)
    : value;
}

/**
 * Extension values and arrays compare by their text, so that a caller can look a UUID or a slot name up. A map is no
 * key, nor is an array with one inside: Python cannot hash them either.
 */
function normalisedKey(key: unknown): unknown {
  if (typeof key !== 'object' || key === null) return key;
  if (Array.isArray(key)) return `[${key.map(arrayKeyPart).join(',')}]`;
  if (key instanceof Uint8Array) return Buffer.from(key).toString('hex');
  if (key instanceof Map || Object.getPrototypeOf(key) === null)
    throw new DecodeError('a map cannot be the key of a map');
  // eslint-disable-next-line @typescript-eslint/no-base-to-string -- every value class has a toString of its own
  return String(key);
}

function arrayKeyPart(part: unknown): string {
  const normalised = normalisedKey(part);
  // An array inside is written already; text keeps its quotes, so that ["1"] and [1] stay apart.
  if (Array.isArray(part) || typeof normalised === 'bigint') return String(normalised);
  return JSON.stringify(normalised);
}
