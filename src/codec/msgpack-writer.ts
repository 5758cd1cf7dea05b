import { EncodeError } from './errors.js';
import { Float } from './values.js';

/** The extension code and payload of a value, or undefined when it is none. */
export type ExtensionWriter = (
  value: object,
) => { readonly code: number; readonly payload: Uint8Array } | undefined;

const MAX_DEPTH = 512;
const FIRST_BYTES = 128;

/**
 * Writes one value as Python's packer does with Backend.AI's settings: shortest integers, float64 only, text as str,
 * bytes as bin, map order kept (spec/wire-protocol.md 4.1). An integral JavaScript number is an integer; wrap it in
 * `Float` to write 2.0. The memory right before the result has `roomBytes` that the caller may write to.
 * @throws EncodeError naming the place inside the value.
 */
export function writeMsgpack(value: unknown, extension: ExtensionWriter, roomBytes: number): Uint8Array {
  const writer = new MsgpackWriter(extension, roomBytes);
  writer.value(value, '$', 0);
  return writer.finish();
}

/** Tags of a family whose length takes 1, 2 or 4 bytes; 0 where there is no form with 1. */
type Tags = readonly [number, number, number];
const TEXT_TAGS: Tags = [0xd9, 0xda, 0xdb];
const BINARY_TAGS: Tags = [0xc4, 0xc5, 0xc6];
const ARRAY_TAGS: Tags = [0, 0xdc, 0xdd];
const MAP_TAGS: Tags = [0, 0xde, 0xdf];
const EXTENSION_TAGS: Tags = [0xc7, 0xc8, 0xc9];

class MsgpackWriter {
  readonly #extension: ExtensionWriter;
  readonly #start: number;
  /** Small: most results are, and a large one is given what it needs at once. */
  #buffer: Buffer;
  #length: number;

  constructor(extension: ExtensionWriter, roomBytes: number) {
    this.#extension = extension;
    this.#buffer = Buffer.allocUnsafe(roomBytes + FIRST_BYTES);
    this.#start = roomBytes;
    this.#length = roomBytes;
  }

  finish(): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#length);
  }

  value(value: unknown, path: string, depth: number): void {
    if (depth > MAX_DEPTH) throw new EncodeError(`${path}: nested deeper than ${String(MAX_DEPTH)}`);
    switch (typeof value) {
      case 'string':
        this.#text(value);
        return;
      case 'number':
        this.#number(value);
        return;
      case 'bigint':
        this.#integer(value, path);
        return;
      case 'boolean':
        this.#byte(value ? 0xc3 : 0xc2);
        return;
      case 'object':
        if (value === null) this.#byte(0xc0);
        else this.#object(value, path, depth);
        return;
      default:
        throw new EncodeError(`${path}: a value of type ${typeof value} has no encoding`);
    }
  }

  #object(value: object, path: string, depth: number): void {
    if (Array.isArray(value)) {
      this.#header(value.length, 0x90, 16, ARRAY_TAGS);
      value.forEach((item, index) => {
        this.value(item, `${path}[${String(index)}]`, depth + 1);
      });
    } else if (value instanceof Uint8Array) {
      this.#header(value.length, 0, 0, BINARY_TAGS);
      this.#bytes(value);
    } else if (value instanceof Float) this.#float(value.value);
    else if (value instanceof Map) this.#entries([...value], path, depth);
    else {
      const found = this.#extension(value);
      if (found) this.#extensionValue(found.code, found.payload);
      else if (isPlain(value)) this.#entries(Object.entries(value), path, depth);
      else throw new EncodeError(`${path}: ${value.constructor.name} has no encoding`);
    }
  }

  #entries(entries: readonly (readonly [unknown, unknown])[], path: string, depth: number): void {
    this.#header(entries.length, 0x80, 16, MAP_TAGS);
    for (const [key, value] of entries) {
      const place = `${path}.${String(key)}`;
      this.value(key, place, depth + 1);
      this.value(value, place, depth + 1);
    }
  }

  #number(value: number): void {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) this.#smallInteger(value);
    else this.#float(value);
  }

  #integer(value: bigint, path: string): void {
    if (value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)) {
      this.#smallInteger(Number(value));
      return;
    }
    if (BigInt.asUintN(64, value) === value) {
      this.#byte(0xcf);
      this.#length = this.#reserve(8).writeBigUInt64BE(value, this.#length);
    } else if (BigInt.asIntN(64, value) === value) {
      this.#byte(0xd3);
      this.#length = this.#reserve(8).writeBigInt64BE(value, this.#length);
    } else throw new EncodeError(`${path}: an integer beyond 64 bits has no encoding`);
  }

  #smallInteger(value: number): void {
    if (value >= 0) {
      if (value < 0x80) this.#byte(value);
      else if (value < 0x100) this.#uint(0xcc, value, 1);
      else if (value < 0x1_0000) this.#uint(0xcd, value, 2);
      else if (value < 0x1_0000_0000) this.#uint(0xce, value, 4);
      else {
        this.#byte(0xcf);
        this.#length = this.#reserve(8).writeBigUInt64BE(BigInt(value), this.#length);
      }
    } else if (value >= -0x20) this.#byte(value + 0x100);
    else if (value >= -0x80) this.#int(0xd0, value, 1);
    else if (value >= -0x8000) this.#int(0xd1, value, 2);
    else if (value >= -0x8000_0000) this.#int(0xd2, value, 4);
    else {
      this.#byte(0xd3);
      this.#length = this.#reserve(8).writeBigInt64BE(BigInt(value), this.#length);
    }
  }

  #float(value: number): void {
    this.#byte(0xcb);
    this.#length = this.#reserve(8).writeDoubleBE(value, this.#length);
  }

  #text(value: string): void {
    const bytes = Buffer.byteLength(value);
    this.#header(bytes, 0xa0, 32, TEXT_TAGS);
    this.#length += this.#reserve(bytes).write(value, this.#length, 'utf8');
  }

  #extensionValue(code: number, payload: Uint8Array): void {
    const fixed = [1, 2, 4, 8, 16].indexOf(payload.length);
    if (fixed >= 0) this.#byte(0xd4 + fixed);
    else this.#header(payload.length, 0, 0, EXTENSION_TAGS);
    this.#byte(code & 0xff);
    this.#bytes(payload);
  }

  /** The shortest header: a fixed tag below `fixedBelow`, else a length of 1 (where the family has it), 2 or 4 bytes. */
  #header(length: number, fixedTag: number, fixedBelow: number, tags: Tags): void {
    if (length < fixedBelow) this.#byte(fixedTag | length);
    else if (length < 0x100 && tags[0] !== 0) this.#uint(tags[0], length, 1);
    else if (length < 0x1_0000) this.#uint(tags[1], length, 2);
    else this.#uint(tags[2], length, 4);
  }

  #uint(tag: number, value: number, size: number): void {
    this.#byte(tag);
    this.#length = this.#reserve(size).writeUIntBE(value, this.#length, size);
  }

  #int(tag: number, value: number, size: number): void {
    this.#byte(tag);
    this.#length = this.#reserve(size).writeIntBE(value, this.#length, size);
  }

  #byte(value: number): void {
    const buffer = this.#reserve(1);
    buffer[this.#length++] = value;
  }

  #bytes(value: Uint8Array): void {
    this.#reserve(value.length).set(value, this.#length);
    this.#length += value.length;
  }

  #reserve(count: number): Buffer {
    if (this.#length + count > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + count));
      this.#buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = larger;
    }
    return this.#buffer;
  }
}

function isPlain(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  // By name, not identity: under jest plain objects may come from another realm.
  return (
    prototype === null ||
    (typeof prototype === 'object' &&
      Object.getPrototypeOf(prototype) === null &&
      Object.hasOwn(prototype, 'hasOwnProperty'))
  );
}
