import { Packr } from 'msgpackr';
import type { ErrorDescription } from '../errors.js';
import { isTruthy, numberOf, sliceArray, sliceMap, textOf } from './msgpack-slices.js';
import type { MapFault, Slice } from './msgpack-slices.js';
import { decompress } from './snappy.js';

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
}

export type Message =
  | { readonly type: 'FUNCTION' | 'RESULT'; readonly id: RequestId; readonly payload: Uint8Array }
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

const packr = new Packr({ useRecords: false, variableMapSize: true });
const EMPTY = Buffer.alloc(0);
const EMPTY_ARRAY = Buffer.of(0x90);
const HEADER_MAP = Buffer.of(0x85);
const TYPE_KEY = packr.pack('type');
const METHOD_KEY = packr.pack('meth');
const ORDER_KEY = packr.pack('okey');
const SEQUENCE_KEY = packr.pack('seq');
const NOT_ZIPPED = Buffer.concat([packr.pack('zip'), packr.pack(false)]);
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
  return Buffer.concat([id.rawMethod, id.rawOrderKey, id.rawSequence]).toString('latin1');
}

/** Header and body frames of a message, never compressed (spec/wire-protocol.md 2.1, 2.4). */
export function encodeMessage(message: Message): { readonly header: Uint8Array; readonly body: Uint8Array } {
  const { id } = message;
  const header = Buffer.concat([
    HEADER_MAP,
    TYPE_KEY,
    Buffer.of(MESSAGE_TYPES.indexOf(message.type)),
    METHOD_KEY,
    id.rawMethod,
    ORDER_KEY,
    id.rawOrderKey,
    SEQUENCE_KEY,
    id.rawSequence,
    NOT_ZIPPED,
  ]);
  return { header, body: packr.pack(bodyOf(message)) };
}

function bodyOf(message: Message): { readonly meta: Uint8Array; readonly body: Uint8Array | null } {
  switch (message.type) {
    case 'FUNCTION':
      return { meta: EMPTY, body: message.payload };
    case 'RESULT':
      return { meta: EMPTY_ARRAY, body: message.payload };
    case 'FAILURE':
    case 'ERROR': {
      const { name, repr, traceback } = message.description;
      return { meta: packr.pack([name, repr, traceback]), body: null };
    }
    case 'CANCEL':
    case 'CANCELLED':
    case 'NULL':
      return { meta: EMPTY_ARRAY, body: null };
  }
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
  const map = sliceMap(header);
  if (!map.ok) return refuse(`header-${map.fault}`);
  const [type, meth, okey, seq, zip] = ['type', 'meth', 'okey', 'seq', 'zip'].map((key) =>
    map.entries.get(key),
  );
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
  let plain = body;
  if (zipped) {
    const unzipped = decompress(body, maxBytes);
    if (!unzipped.ok) return unzipped.fault;
    plain = unzipped.bytes;
  }
  const map = sliceMap(plain);
  if (!map.ok) return `body-${map.fault}`;
  const metadata = map.entries.get('meta');
  const payload = map.entries.get('body');
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
