import { Packr } from 'msgpackr';
import type { ErrorDescription } from '../errors.js';
import { isTruthy, numberOf, sliceArray, sliceMap, textOf } from './msgpack-slices.js';
import type { MapFault, Slice } from './msgpack-slices.js';
import { compress, decompress } from './snappy.js';
import { answerHeader, readUsualBody, readUsualHeader } from './usual-layout.js';

/** Names of the message types; the index is the number on the wire (spec/wire-protocol.md 2.2). */
export const MESSAGE_TYPES = [
  'NULL',
  'FUNCTION',
  'RESULT',
  'FAILURE',
  'ERROR',
  'CANCEL',
  'CANCELLED',
] as const;
export type MessageType = (typeof MESSAGE_TYPES)[number];

/**
 * Identity of a request. The three values stay as the msgpack bytes the caller wrote and go back verbatim: callers
 * match replies by exact equality, and an empty text is not an empty binary (spec/wire-protocol.md 2.3).
 */
export interface RequestId {
  readonly method: string;
  readonly rawMethod: Uint8Array;
  readonly rawOrderKey: Uint8Array;
  readonly rawSequence: Uint8Array;
  /** The whole header of the call, where it has the usual layout: then the answer's differs in the type alone. */
  readonly header?: Uint8Array;
}

export type Message =
  | {
      readonly type: 'FUNCTION' | 'RESULT';
      readonly id: RequestId;
      readonly payload: Uint8Array;
      /** So many bytes of memory right before the payload are free, for what comes before it in the body. */
      readonly roomBytes?: number;
    }
  | { readonly type: 'FAILURE' | 'ERROR'; readonly id: RequestId; readonly description: ErrorDescription }
  | { readonly type: 'CANCEL' | 'CANCELLED' | 'NULL'; readonly id: RequestId };

export type MessageFault =
  | `header-${MapFault}`
  | 'header-too-large'
  | 'header-missing-key'
  | 'header-unknown-type'
  | 'method-not-text'
  | 'id-not-hashable'
  | `body-${MapFault}`
  | 'body-missing-key'
  | 'body-not-snappy'
  | 'body-too-large'
  | 'payload-not-binary'
  | 'metadata-malformed';

export type Decoded =
  | { readonly ok: true; readonly message: Message }
  | {
      readonly ok: false;
      readonly fault: MessageFault;
      /** The request that waits for an answer, where the header could be read and announces a FUNCTION. */
      readonly request: RequestId | undefined;
    };

/** A header holds a method name and an order key; nothing real comes near this. */
const MAX_HEADER_BYTES = 64 * 1024;

/** Bodies below this do not gain from compression. */
const COMPRESS_FROM_BYTES = 1024;

/** A body frame is this much longer than its payload, at most. */
export const BODY_OVERHEAD_BYTES = 32;

const packr = new Packr({ useRecords: false, variableMapSize: true });
/** Key names as they lie in a msgpack map. */
const HEADER_KEYS = ['type', 'meth', 'okey', 'seq', 'zip'].map((key) => Buffer.from(key));
const BODY_KEYS = ['meta', 'body'].map((key) => Buffer.from(key));
/** Everything of a header that does not change: up to the method by type, and between the echoed values. */
const HEADER_STARTS = new Map(
  MESSAGE_TYPES.map((type, number) => [
    type,
    Buffer.concat([Buffer.of(0x85), packr.pack('type'), Buffer.of(number), packr.pack('meth')]),
  ]),
);
const ORDER_KEY = Buffer.from(packr.pack('okey'));
const SEQUENCE_KEY = Buffer.from(packr.pack('seq'));
const NOT_ZIPPED = Buffer.concat([packr.pack('zip'), packr.pack(false)]);
const ZIPPED = Buffer.concat([packr.pack('zip'), packr.pack(true)]);
const bodyStart = (meta: Buffer) =>
  Buffer.concat([Buffer.of(0x82), packr.pack('meta'), packr.pack(meta), packr.pack('body')]);
/** Python sends an empty bin as the metadata of a FUNCTION, and an empty array for everything else without fields. */
const FUNCTION_BODY = bodyStart(Buffer.alloc(0));
const RESULT_BODY = bodyStart(Buffer.of(0x90));
const NO_BODY = Buffer.concat([RESULT_BODY, Buffer.of(0xc0)]);
const NO_DESCRIPTION: ErrorDescription = { name: '', repr: '', traceback: '' };

/** The id of a request of our own. `sequence` is 0 to 2^32 - 1. */
export function createRequestId(method: string, orderKey: string | Uint8Array, sequence: number): RequestId {
  return {
    method,
    rawMethod: packr.pack(method),
    rawOrderKey: packr.pack(orderKey),
    rawSequence: packr.pack(sequence),
  };
}

/** Equal exactly for equal ids; msgpack values end by themselves, so joining them is unambiguous. */
export function requestKey(id: RequestId): string {
  return latin1(id.rawMethod) + latin1(id.rawOrderKey) + latin1(id.rawSequence);
}

/** Are two ids equal, byte for byte? The sequence first: it differs for nearly all. */
export function sameRequest(a: RequestId, b: RequestId): boolean {
  return (
    Buffer.compare(a.rawSequence, b.rawSequence) === 0 &&
    Buffer.compare(a.rawOrderKey, b.rawOrderKey) === 0 &&
    Buffer.compare(a.rawMethod, b.rawMethod) === 0
  );
}

/** One character a byte: a form of bytes that a `Map` can have as its key. */
export function latin1(bytes: Uint8Array): string {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString('latin1');
}

export interface EncodeOptions {
  /** Compress the body where that makes it smaller; default false, as Python does (spec/wire-protocol.md 2.4). */
  readonly compress?: boolean;
}

/** Header and body frames of a message (spec/wire-protocol.md 2.1). */
export function encodeMessage(
  message: Message,
  options: EncodeOptions = {},
): { readonly header: Uint8Array; readonly body: Uint8Array } {
  const plain = encodeBody(message);
  if (options.compress !== true || plain.length < COMPRESS_FROM_BYTES)
    return { header: encodeHeader(message, NOT_ZIPPED), body: plain };
  const body = compress(plain);
  return body.length < plain.length
    ? { header: encodeHeader(message, ZIPPED), body }
    : { header: encodeHeader(message, NOT_ZIPPED), body: plain };
}

function encodeHeader({ type, id }: Message, zip: Buffer): Uint8Array {
  if (id.header && zip === NOT_ZIPPED) return answerHeader(id.header, MESSAGE_TYPES.indexOf(type));
  const start = HEADER_STARTS.get(type) ?? ORDER_KEY;
  return Buffer.concat([start, id.rawMethod, ORDER_KEY, id.rawOrderKey, SEQUENCE_KEY, id.rawSequence, zip]);
}

function encodeBody(message: Message): Buffer {
  switch (message.type) {
    case 'FUNCTION':
      return payloadBody(FUNCTION_BODY, message.payload, message.roomBytes);
    case 'RESULT':
      return payloadBody(RESULT_BODY, message.payload, message.roomBytes);
    case 'FAILURE':
    case 'ERROR': {
      const { name, repr, traceback } = message.description;
      return packr.pack({ meta: packr.pack([name, repr, traceback]), body: null });
    }
    case 'CANCEL':
    case 'CANCELLED':
    case 'NULL':
      return NO_BODY;
  }
}

/** Written in front of the payload where there is room, so that a large one is not copied. */
function payloadBody(start: Buffer, payload: Uint8Array, roomBytes = 0): Buffer {
  const { length } = payload;
  const headBytes = start.length + (length < 0x100 ? 2 : length < 0x1_0000 ? 3 : 5);
  let body: Buffer;
  if (headBytes <= roomBytes)
    body = Buffer.from(payload.buffer, payload.byteOffset - headBytes, headBytes + length);
  else {
    body = Buffer.allocUnsafe(headBytes + length);
    body.set(payload, headBytes);
  }
  body.set(start);
  if (length < 0x100) body.writeUInt16BE(0xc400 | length, start.length);
  else if (length < 0x1_0000) {
    body[start.length] = 0xc5;
    body.writeUInt16BE(length, start.length + 1);
  } else {
    body[start.length] = 0xc6;
    body.writeUInt32BE(length, start.length + 1);
  }
  return body;
}

/** Never throws: what a peer sent wrong comes back as a named fault. */
export function decodeMessage(
  header: Uint8Array,
  body: Uint8Array,
  limits: { readonly maxBodyBytes: number },
): Decoded {
  const read = readHeader(header);
  if ('fault' in read) return { ok: false, ...read };
  const { type, id, zipped } = read;
  const result = readBody(type, id, body, zipped, limits.maxBodyBytes);
  if (typeof result === 'string')
    return { ok: false, fault: result, request: type === 'FUNCTION' ? id : undefined };
  return { ok: true, message: result };
}

interface Header {
  readonly type: MessageType;
  readonly id: RequestId;
  readonly zipped: boolean;
}

function readHeader(
  header: Uint8Array,
): Header | { readonly fault: MessageFault; readonly request: RequestId | undefined } {
  const refuse = (fault: MessageFault, request?: RequestId) => ({ fault, request });
  if (header.length > MAX_HEADER_BYTES) return refuse('header-too-large');
  const usual = readUsualHeader(header);
  if (usual) return { type: MESSAGE_TYPES[usual.type] ?? 'NULL', id: usual.id, zipped: false };
  const map = sliceMap(header, HEADER_KEYS);
  if (!map.ok) return refuse(`header-${map.fault}`);
  const [type, meth, okey, seq, zip] = map.values;
  if (!type || !meth || !okey || !seq || !zip) return refuse('header-missing-key');
  const typeName = MESSAGE_TYPES[numberOf(type) ?? -1];
  if (typeName === undefined) return refuse('header-unknown-type');
  const method = textOf(meth);
  const id = { method: method ?? '', rawMethod: meth.raw, rawOrderKey: okey.raw, rawSequence: seq.raw };
  const owed = typeName === 'FUNCTION' ? id : undefined;
  if (method === undefined) return refuse('method-not-text', owed);
  // A map cannot be part of the caller's own table key either: nobody waits for the answer, but it costs nothing.
  if (okey.holdsMap || seq.holdsMap) return refuse('id-not-hashable', owed);
  return { type: typeName, id, zipped: isTruthy(zip) };
}

function readBody(
  type: MessageType,
  id: RequestId,
  body: Uint8Array,
  zipped: boolean,
  maxBytes: number,
): Message | MessageFault {
  if (body.length > maxBytes) return 'body-too-large';
  if (type === 'FUNCTION' && !zipped) {
    const payload = readUsualBody(body);
    if (payload) return { type, id, payload };
  }
  let plain = body;
  if (zipped) {
    const unzipped = decompress(body, maxBytes);
    if (!unzipped.ok) return unzipped.fault;
    plain = unzipped.bytes;
  }
  const map = sliceMap(plain, BODY_KEYS);
  if (!map.ok) return `body-${map.fault}`;
  const [metadata, payload] = map.values;
  if (!metadata || !payload) return 'body-missing-key';
  const fields = readMetadata(metadata);
  if (!fields) return 'metadata-malformed';

  if (type === 'FAILURE' || type === 'ERROR') {
    if (fields.length === 0 && !isTruthy(metadata)) return { type, id, description: NO_DESCRIPTION };
    const [name, repr, traceback, ...more] = fields.map(textOf);
    if (name === undefined || repr === undefined || traceback === undefined || more.length > 0)
      return 'metadata-malformed';
    return { type, id, description: { name, repr, traceback } };
  }
  if (fields.length > 0) return 'metadata-malformed';
  if (type === 'FUNCTION' || type === 'RESULT')
    return payload.family === 'bin' ? { type, id, payload: payload.content } : 'payload-not-binary';
  return { type, id };
}

/** Fields of the metadata; empty for "no metadata", which is an empty bin, an empty str or nil. */
function readMetadata(metadata: Slice): readonly Slice[] | undefined {
  if (!isTruthy(metadata)) return [];
  return metadata.family === 'bin' ? sliceArray(metadata.content) : undefined;
}
