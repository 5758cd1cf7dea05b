import { EncodeError } from '../errors.js';
import { BinarySize, Decimal, EnumValue, ImageRef, ResourceSlot, SlotName } from '../values.js';
import type { PickledValue } from './reader.js';

/** Which manager reads the bytes; they differ only in the order of SlotName's attributes. */
export type Dialect = '25.17' | '26.8';

const TYPES = 'ai.backend.common.types';
const DOCKER = 'ai.backend.common.docker';
/** Python starts a new frame about every 64 KiB and a new batch of map items every 1000. */
const FRAME_TARGET = 64 * 1024;
const BATCH = 1000;

/** Writes what CPython's protocol 5 pickler writes for these values (spec/wire-protocol.md 5.5, option 1). */
export function writePickle(value: PickledValue, dialect: Dialect): Uint8Array {
  const out = new PickleBuffer();
  if (value instanceof Decimal) out.decimal(value.text);
  else if (value instanceof EnumValue) out.enumMember(value);
  else if (value instanceof BinarySize) out.binarySize(value.bytes);
  else if (value instanceof ResourceSlot) out.resourceSlot(value);
  else if (value instanceof SlotName) out.slotName(value, dialect);
  else if (value instanceof ImageRef) out.imageRef(value);
  else throw new EncodeError('not a value that travels as a pickle');
  return out.finish();
}

class PickleBuffer {
  readonly #frames: Buffer[] = [];
  #parts: Buffer[] = [];
  #length = 0;
  #memoIndex = 0;
  /** Memo index of every text that Python's pickler shares because it is the same object: names and the empty text. */
  readonly #shared = new Map<string, number>();
  readonly #classes = new Map<string, number>();

  decimal(literal: string): void {
    this.#class('decimal', 'Decimal');
    this.#newText(literal);
    this.#op(0x85);
    this.#memoize();
    this.#op(0x52);
    this.#memoize();
  }

  enumMember(value: EnumValue): void {
    this.#class(value.module, value.className);
    if (typeof value.value === 'number') this.#integer(BigInt(value.value));
    else this.#text(value.value);
    this.#op(0x85);
    this.#memoize();
    this.#op(0x52);
    this.#memoize();
  }

  binarySize(bytes: bigint): void {
    this.#class(TYPES, 'BinarySize');
    this.#integer(bytes);
    this.#op(0x85);
    this.#memoize();
    this.#op(0x81);
    this.#memoize();
  }

  resourceSlot(value: ResourceSlot): void {
    this.#newObject(TYPES, 'ResourceSlot');
    this.#op(0x4e);
    this.#emptyMap();
    this.#newText('data');
    this.#map(value.entries, ([slot, amount]) => {
      this.#newText(slot);
      this.decimal(amount);
    });
    this.#op(0x73);
    this.#stateTuple();
  }

  slotName(value: SlotName, dialect: Dialect): void {
    this.#class(TYPES, 'SlotName');
    const nameIndex = this.#newText(value.name);
    this.#op(0x85);
    this.#memoize();
    this.#op(0x81);
    this.#memoize();
    this.#emptyMap();
    this.#newText('data');
    this.#get(nameIndex);
    this.#op(0x73);
    this.#emptyMap();
    const { device, major, minor } = value.parsed ? value.parts : { device: '', major: '', minor: '' };
    const parsed = ['_parsed', value.parsed] as const;
    const derived = [
      ['_device_name', device],
      ['_major_type', major],
      ['_minor_type', minor],
    ] as const;
    this.#op(0x28);
    for (const [key, attribute] of dialect === '25.17' ? [parsed, ...derived] : [...derived, parsed]) {
      this.#newText(key);
      if (typeof attribute === 'boolean') this.#boolean(attribute);
      else this.#text(attribute);
    }
    this.#op(0x75);
    this.#stateTuple();
  }

  imageRef(value: ImageRef): void {
    this.#newObject(DOCKER, 'ImageRef');
    this.#emptyMap();
    this.#op(0x28);
    this.#newText('name');
    this.#text(value.name);
    this.#newText('project');
    if (value.project === null) this.#op(0x4e);
    else this.#text(value.project);
    this.#newText('tag');
    const tagIndex = this.#newText(value.tag);
    this.#newText('registry');
    this.#text(value.registry);
    this.#newText('architecture');
    this.#text(value.architecture);
    this.#newText('is_local');
    this.#boolean(value.isLocal);
    this.#newText('_tag_set');
    const { first, platform } = value.tagSet;
    // Splitting a tag without a hyphen gives Python the same text object back.
    if (first === value.tag) this.#get(tagIndex);
    else this.#text(first);
    this.#newObject(DOCKER, 'PlatformTagSet');
    this.#op(0x4e);
    this.#emptyMap();
    this.#newText('_data');
    this.#map([...platform], ([key, version]) => {
      this.#newText(key);
      this.#text(version);
    });
    this.#op(0x73);
    this.#stateTuple();
    this.#op(0x86);
    this.#memoize();
    this.#op(0x75);
    this.#op(0x62);
  }

  finish(): Uint8Array {
    this.#op(0x2e);
    this.#endFrame();
    return Buffer.concat([Buffer.from([0x80, 5]), ...this.#frames]);
  }

  #newObject(module: string, name: string): void {
    this.#class(module, name);
    this.#op(0x29);
    this.#op(0x81);
    this.#memoize();
  }

  #class(module: string, name: string): void {
    const key = `${module}\0${name}`;
    const known = this.#classes.get(key);
    if (known !== undefined) {
      this.#get(known);
      return;
    }
    this.#text(module, true);
    this.#text(name, true);
    this.#op(0x93);
    this.#classes.set(key, this.#memoize());
  }

  #map<Entry>(entries: readonly Entry[], write: (entry: Entry) => void): void {
    this.#emptyMap();
    for (let start = 0; start < entries.length; start += BATCH) {
      const batch = entries.slice(start, start + BATCH);
      if (batch.length > 1) this.#op(0x28);
      for (const entry of batch) {
        write(entry);
        if (this.#length >= FRAME_TARGET) this.#endFrame();
      }
      this.#op(batch.length > 1 ? 0x75 : 0x73);
    }
  }

  #emptyMap(): void {
    this.#op(0x7d);
    this.#memoize();
  }

  #stateTuple(): void {
    this.#op(0x86);
    this.#memoize();
    this.#op(0x62);
  }

  /** Text that Python holds once: fetched from the memo when it was written before. */
  #text(value: string, share = value === ''): void {
    const known = this.#shared.get(value);
    if (known !== undefined && (share || value === '')) {
      this.#get(known);
      return;
    }
    const index = this.#newText(value);
    if (share) this.#shared.set(value, index);
  }

  #newText(value: string): number {
    const bytes = Buffer.from(value, 'utf8');
    if (bytes.length < 256) this.#write(Buffer.from([0x8c, bytes.length]));
    else {
      const header = Buffer.alloc(5);
      header[0] = 0x58;
      header.writeUInt32LE(bytes.length, 1);
      this.#write(header);
    }
    this.#write(bytes);
    return this.#memoize();
  }

  #integer(value: bigint): void {
    if (value >= 0n && value < 256n) this.#write(Buffer.from([0x4b, Number(value)]));
    else if (value >= 0n && value < 65_536n) {
      const bytes = Buffer.alloc(3);
      bytes[0] = 0x4d;
      bytes.writeUInt16LE(Number(value), 1);
      this.#write(bytes);
    } else if (value >= -0x80000000n && value < 0x80000000n) {
      const bytes = Buffer.alloc(5);
      bytes[0] = 0x4a;
      bytes.writeInt32LE(Number(value), 1);
      this.#write(bytes);
    } else this.#long(value);
  }

  #long(value: bigint): void {
    let length = 1;
    while (BigInt.asIntN(length * 8, value) !== value) length++;
    const bytes = Buffer.alloc(length + 2);
    bytes[0] = 0x8a;
    bytes[1] = length;
    let rest = BigInt.asUintN(length * 8, value);
    for (let index = 0; index < length; index++, rest >>= 8n) bytes[index + 2] = Number(rest & 0xffn);
    this.#write(bytes);
  }

  #boolean(value: boolean): void {
    this.#op(value ? 0x88 : 0x89);
  }

  #get(index: number): void {
    if (index < 256) this.#write(Buffer.from([0x68, index]));
    else {
      const bytes = Buffer.alloc(5);
      bytes[0] = 0x6a;
      bytes.writeUInt32LE(index, 1);
      this.#write(bytes);
    }
  }

  #memoize(): number {
    this.#op(0x94);
    return this.#memoIndex++;
  }

  #op(opcode: number): void {
    this.#write(Buffer.from([opcode]));
  }

  #write(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#length += bytes.length;
  }

  #endFrame(): void {
    const header = Buffer.alloc(9);
    header[0] = 0x95;
    header.writeBigUInt64LE(BigInt(this.#length), 1);
    this.#frames.push(header, ...this.#parts);
    this.#parts = [];
    this.#length = 0;
  }
}
