import { PickleRefusedError } from '../errors.js';
import { type CodecLimits, DEFAULT_CODEC_LIMITS } from '../limits.js';
import { BinarySize, Decimal, EnumValue } from '../values.js';
import type { ImageRef, ResourceSlot, SlotName } from '../values.js';
import { Instance, type PickleItem, applyState, call, className, instantiate } from './constructors.js';

export type PickledValue = Decimal | EnumValue | ImageRef | ResourceSlot | SlotName | BinarySize;

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const MAX_STACK = 4096;
const MAX_MEMO = 65_536;
/** The largest real value builds one for each of its amounts. */
const MAX_TUPLES = 65_536;

/**
 * Reads the few pickled shapes of spec/wire-protocol.md 5. A pickle is a program; this reader knows a small list of
 * its opcodes and a fixed table of (module, name) pairs and refuses everything else. Nothing is looked up or called
 * by a name that came from the wire.
 * @throws PickleRefusedError
 */
export function readPickle(bytes: Uint8Array, limits: CodecLimits = DEFAULT_CODEC_LIMITS): PickledValue {
  if (bytes.length > limits.maxPickleBytes)
    throw new PickleRefusedError(
      `pickle of ${String(bytes.length)} bytes exceeds ${String(limits.maxPickleBytes)}`,
    );
  const result = new Machine(bytes, limits).run();
  if (result instanceof Instance) return result.finish();
  if (result instanceof Decimal || result instanceof EnumValue || result instanceof BinarySize) return result;
  throw new PickleRefusedError('the pickle does not hold a value of the protocol');
}

class Machine {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #limits: CodecLimits;
  /** Each mark opens a new level; the items above it lie in that level. */
  #stack: PickleItem[] = [];
  readonly #levels: PickleItem[][] = [];
  readonly #memo: PickleItem[] = [];
  #position = 0;
  /**
   * What calls have cost so far. The memo lets a few bytes name a large argument again and again, so the length of
   * the pickle alone does not bound the time to read it.
   */
  #work = 0;
  #tuples = 0;

  constructor(bytes: Uint8Array, limits: CodecLimits) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#limits = limits;
  }

  run(): PickleItem {
    if (this.#uint8() !== 0x80) throw new PickleRefusedError('no protocol header');
    const protocol = this.#uint8();
    if (protocol !== 4 && protocol !== 5)
      throw new PickleRefusedError(`pickle protocol ${String(protocol)} is not accepted`);
    for (;;) {
      const opcode = this.#uint8();
      if (opcode === 0x2e) break;
      this.#step(opcode);
    }
    if (this.#position !== this.#bytes.length)
      throw new PickleRefusedError('bytes after the end of the pickle');
    const result = this.#pop();
    if (this.#stack.length > 0 || this.#levels.length > 0)
      throw new PickleRefusedError('more than one value in the pickle');
    return result;
  }

  #step(opcode: number): void {
    switch (opcode) {
      case 0x95: // FRAME is advisory, but must not promise more than there is
        if (this.#uint64() > BigInt(this.#remaining))
          throw new PickleRefusedError('frame longer than the input');
        return;
      case 0x8c:
        this.#push(this.#text(this.#uint8()));
        return;
      case 0x58:
        this.#push(this.#text(this.#uint32()));
        return;
      case 0x94:
        if (this.#memo.length >= MAX_MEMO) throw new PickleRefusedError('too many memo entries');
        this.#memo.push(this.#peek());
        return;
      case 0x68:
        this.#push(this.#recall(this.#uint8()));
        return;
      case 0x6a:
        this.#push(this.#recall(this.#uint32()));
        return;
      case 0x93: {
        const name = this.#pop();
        const module = this.#pop();
        this.#push(className(module, name));
        return;
      }
      case 0x4e:
        this.#push(null);
        return;
      case 0x88:
      case 0x89:
        this.#push(opcode === 0x88);
        return;
      case 0x4b:
        this.#push(BigInt(this.#uint8()));
        return;
      case 0x4d:
        this.#need(2);
        this.#push(BigInt(this.#view.getUint16(this.#advance(2), true)));
        return;
      case 0x4a:
        this.#need(4);
        this.#push(BigInt(this.#view.getInt32(this.#advance(4), true)));
        return;
      case 0x8a:
        this.#push(this.#longInteger(this.#uint8()));
        return;
      case 0x29:
        this.#push([]);
        return;
      case 0x85:
      case 0x86:
      case 0x87:
        this.#pushTuple(this.#popMany(opcode - 0x84));
        return;
      case 0x28:
        if (this.#levels.length >= this.#limits.maxDepth) throw new PickleRefusedError('nested too deeply');
        this.#levels.push(this.#stack);
        this.#stack = [];
        return;
      case 0x74:
        this.#pushTuple(this.#popToMark());
        return;
      case 0x7d:
        this.#push(new Map());
        return;
      case 0x73:
        this.#setItems(this.#popMany(2));
        return;
      case 0x75:
        this.#setItems(this.#popToMark());
        return;
      case 0x52: {
        const argument = this.#pop();
        this.#work += costOf(argument);
        if (this.#work > this.#limits.maxItems) throw new PickleRefusedError('too much to build');
        this.#push(call(this.#pop(), argument));
        return;
      }
      case 0x81: {
        const argument = this.#pop();
        this.#push(instantiate(this.#pop(), argument));
        return;
      }
      case 0x62: {
        const state = this.#pop();
        applyState(this.#peek(), state);
        return;
      }
      default:
        throw new PickleRefusedError(`opcode 0x${opcode.toString(16)} is not accepted`);
    }
  }

  #setItems(items: readonly PickleItem[]): void {
    const target = this.#peek();
    if (!(target instanceof Map) || items.length % 2 !== 0)
      throw new PickleRefusedError('items without a map');
    for (let index = 0; index < items.length; index += 2) {
      const key = items[index];
      if (typeof key !== 'string') throw new PickleRefusedError('a map key is not text');
      target.set(key, items[index + 1] ?? null);
    }
    if (target.size > this.#limits.maxItems) throw new PickleRefusedError('too many items');
  }

  #longInteger(length: number): bigint {
    this.#need(length);
    let value = 0n;
    for (let index = length - 1; index >= 0; index--)
      value = (value << 8n) | BigInt(this.#bytes[this.#position + index] ?? 0);
    this.#position += length;
    return BigInt.asIntN(length * 8, value);
  }

  #text(length: number): string {
    this.#need(length);
    const start = this.#advance(length);
    try {
      return UTF8.decode(this.#bytes.subarray(start, start + length));
    } catch (error) {
      throw new PickleRefusedError('text is not UTF-8', { cause: error });
    }
  }

  #recall(index: number): PickleItem {
    const item = this.#memo[index];
    if (item === undefined) throw new PickleRefusedError(`memo entry ${String(index)} was never stored`);
    return item;
  }

  #pushTuple(items: PickleItem[]): void {
    if (++this.#tuples > MAX_TUPLES) throw new PickleRefusedError('too many tuples');
    this.#push(items);
  }

  #push(item: PickleItem): void {
    if (this.#stack.length >= MAX_STACK) throw new PickleRefusedError('stack too deep');
    this.#stack.push(item);
  }

  #pop(): PickleItem {
    const item = this.#stack.pop();
    if (item === undefined) throw new PickleRefusedError('the stack is empty');
    return item;
  }

  #peek(): PickleItem {
    const item = this.#stack.at(-1);
    if (item === undefined) throw new PickleRefusedError('the stack is empty');
    return item;
  }

  #popMany(count: number): PickleItem[] {
    if (count > this.#stack.length) throw new PickleRefusedError('the stack is empty');
    return this.#stack.splice(this.#stack.length - count, count);
  }

  #popToMark(): PickleItem[] {
    const outer = this.#levels.pop();
    if (outer === undefined) throw new PickleRefusedError('no mark on the stack');
    const items = this.#stack;
    this.#stack = outer;
    return items;
  }

  get #remaining(): number {
    return this.#bytes.length - this.#position;
  }

  /** Checked before anything is allocated. */
  #need(count: number): void {
    if (count > this.#remaining) throw new PickleRefusedError('the pickle ends too early');
  }

  #advance(count: number): number {
    const start = this.#position;
    this.#position += count;
    return start;
  }

  #uint8(): number {
    this.#need(1);
    return this.#view.getUint8(this.#advance(1));
  }

  #uint32(): number {
    this.#need(4);
    return this.#view.getUint32(this.#advance(4), true);
  }

  #uint64(): bigint {
    this.#need(8);
    return this.#view.getBigUint64(this.#advance(8), true);
  }
}

/** Text is read in pieces of this many characters for the price of one item. */
const CHARS_PER_ITEM = 16;

/** How many items a call with these arguments may look at. */
function costOf(argument: PickleItem): number {
  let cost = 1;
  for (const item of Array.isArray(argument) ? argument : [])
    if (item instanceof Map) cost += item.size;
    else if (typeof item === 'string') cost += Math.ceil(item.length / CHARS_PER_ITEM);
  return cost;
}
