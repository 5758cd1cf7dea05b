import type { RequestId } from './message.js';

/**
 * Messages laid out as Python writes them, and so do we: keys in the order of the spec, shortest forms, not compressed.
 * That is every message in practice, and reading it takes a fraction of looking keys up in a map of any form. Whatever
 * differs in one byte is left to the reader that takes all forms; both read the same things from the same bytes.
 */

const HEADER_START = Buffer.from('\x85\xa4type', 'latin1');
const METHOD_KEY = Buffer.from('\xa4meth', 'latin1');
const ORDER_KEY = Buffer.from('\xa4okey', 'latin1');
const SEQUENCE_KEY = Buffer.from('\xa3seq', 'latin1');
const HEADER_END = Buffer.from('\xa3zip\xc2', 'latin1');
const BODY_START = Buffer.from('\x82\xa4meta\xc4\x00\xa4body', 'latin1');
const TYPE_AT = HEADER_START.length;
const LAST_TYPE = 6;
const METHOD_AT = TYPE_AT + 1 + METHOD_KEY.length;

export interface UsualHeader {
  readonly type: number;
  readonly id: RequestId;
}

/** Undefined for a header of any other form, whether valid or not. */
export function readUsualHeader(header: Uint8Array): UsualHeader | undefined {
  if (!hasAt(header, 0, HEADER_START) || !hasAt(header, TYPE_AT + 1, METHOD_KEY)) return undefined;
  const type = header[TYPE_AT] ?? 0xff;
  if (type > LAST_TYPE) return undefined;
  const methodTag = header[METHOD_AT] ?? 0;
  const methodStart = METHOD_AT + (methodTag === 0xd9 ? 2 : 1);
  const methodEnd = textOrBinaryEnd(header, METHOD_AT);
  if (methodEnd < 0 || methodTag === 0xc4 || !hasAt(header, methodEnd, ORDER_KEY)) return undefined;
  const method = asciiText(header, methodStart, methodEnd);
  if (method === undefined) return undefined;
  const orderKeyStart = methodEnd + ORDER_KEY.length;
  const orderKeyEnd = textOrBinaryEnd(header, orderKeyStart);
  if (orderKeyEnd < 0 || !hasAt(header, orderKeyEnd, SEQUENCE_KEY)) return undefined;
  const sequenceStart = orderKeyEnd + SEQUENCE_KEY.length;
  const sequenceEnd = naturalEnd(header, sequenceStart);
  if (sequenceEnd < 0 || sequenceEnd + HEADER_END.length !== header.length) return undefined;
  if (!hasAt(header, sequenceEnd, HEADER_END)) return undefined;
  return { type, id: new UsualRequestId(method, header, methodEnd, orderKeyEnd, sequenceEnd) };
}

/** The header of an answer: that of the call, whose id is echoed, with another type. */
export function answerHeader(header: Uint8Array, type: number): Uint8Array {
  const answer = Buffer.allocUnsafe(header.length);
  answer.set(header);
  answer[TYPE_AT] = type;
  return answer;
}

/** The payload of a body without metadata; undefined for a body of any other form. */
export function readUsualBody(body: Uint8Array): Uint8Array | undefined {
  if (!hasAt(body, 0, BODY_START)) return undefined;
  const at = BODY_START.length;
  const tag = body[at] ?? 0;
  if (tag < 0xc4 || tag > 0xc6) return undefined;
  const start = at + 1 + 2 ** (tag - 0xc4);
  if (start > body.length) return undefined;
  let length = 0;
  for (let i = at + 1; i < start; i++) length = length * 0x100 + (body[i] ?? 0);
  return start + length === body.length ? body.subarray(start) : undefined;
}

/** Cuts its values out of the header when somebody asks; mostly nobody does. */
class UsualRequestId implements RequestId {
  readonly method: string;
  readonly header: Uint8Array;
  readonly #methodEnd: number;
  readonly #orderKeyEnd: number;
  readonly #sequenceEnd: number;

  constructor(
    method: string,
    header: Uint8Array,
    methodEnd: number,
    orderKeyEnd: number,
    sequenceEnd: number,
  ) {
    this.method = method;
    this.header = header;
    this.#methodEnd = methodEnd;
    this.#orderKeyEnd = orderKeyEnd;
    this.#sequenceEnd = sequenceEnd;
  }

  get rawMethod(): Uint8Array {
    return this.header.subarray(METHOD_AT, this.#methodEnd);
  }

  get rawOrderKey(): Uint8Array {
    return this.header.subarray(this.#methodEnd + ORDER_KEY.length, this.#orderKeyEnd);
  }

  get rawSequence(): Uint8Array {
    return this.header.subarray(this.#orderKeyEnd + SEQUENCE_KEY.length, this.#sequenceEnd);
  }
}

function hasAt(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}

/** Where a str or bin of up to 255 bytes ends; -1 for anything else. It may be beyond the bytes. */
function textOrBinaryEnd(bytes: Uint8Array, at: number): number {
  const tag = bytes[at] ?? 0;
  if (tag >= 0xa0 && tag <= 0xbf) return at + 1 + (tag & 0x1f);
  return tag === 0xc4 || tag === 0xd9 ? at + 2 + (bytes[at + 1] ?? 0) : -1;
}

/** Where an unsigned integer of up to 32 bits ends; -1 for anything else. */
function naturalEnd(bytes: Uint8Array, at: number): number {
  const tag = bytes[at] ?? 0xff;
  if (tag <= 0x7f) return at + 1;
  return tag >= 0xcc && tag <= 0xce ? at + 1 + 2 ** (tag - 0xcc) : -1;
}

/** Undefined where a byte is not ASCII, whose text would have to be checked. */
function asciiText(bytes: Uint8Array, start: number, end: number): string | undefined {
  for (let at = start; at < end; at++) if ((bytes[at] ?? 0xff) > 0x7f) return undefined;
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString('latin1', start, end);
}
