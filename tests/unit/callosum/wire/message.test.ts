import { createHash } from 'node:crypto';
import {
  createRequestId,
  decodeMessage,
  encodeMessage,
  MESSAGE_TYPES,
  requestKey,
} from '../../../../src/callosum/wire/message.js';
import type { Message, MessageFault, MessageType } from '../../../../src/callosum/wire/message.js';
import { msgpack } from '../../../support/callosum.js';
import { fromNotation, readVectors } from '../../../support/vectors.js';

interface MessageVector {
  readonly id: string;
  readonly message: {
    readonly type: number;
    readonly method: string;
    readonly order_key: unknown;
    readonly seq: number;
    readonly zip: boolean;
    readonly body: unknown;
    readonly metadata: { readonly kind: string } | null;
  };
  readonly header_hex: string;
  readonly body_hex?: string;
  readonly body_len?: number;
  readonly body_sha256?: string;
  readonly decoded_metadata: {
    readonly kind: string;
    readonly name?: string;
    readonly repr?: string;
    readonly traceback?: string;
  } | null;
}
interface DecodeCase {
  readonly id: string;
  readonly header_hex: string;
  readonly body_hex: string;
  readonly python: 'accepted' | 'exception';
  readonly decoded?: { readonly type: number; readonly body: unknown };
}
interface Vectors {
  readonly messages: readonly MessageVector[];
  readonly decode_cases: readonly DecodeCase[];
  readonly upper_layers: readonly {
    readonly id: string;
    readonly header_hex: string;
    readonly body_hex: string;
  }[];
}

const vectors = readVectors<Vectors>('callosum-messages.json');
const limits = { maxBodyBytes: 16 << 20 };
const hex = (text: string) => Buffer.from(text, 'hex');
const typeName = (type: number): MessageType => MESSAGE_TYPES[type] ?? 'NULL';

function messageOf(vector: MessageVector): Message {
  const { method, order_key, seq, body } = vector.message;
  const type = typeName(vector.message.type);
  const id = createRequestId(method, fromNotation(order_key) as string | Uint8Array, seq);
  const { name = '', repr = '', traceback = '' } = vector.decoded_metadata ?? {};
  switch (type) {
    case 'FUNCTION':
    case 'RESULT':
      return { type, id, payload: msgpack.pack(fromNotation(body)) };
    case 'FAILURE':
    case 'ERROR':
      return { type, id, description: { name, repr, traceback } };
    default:
      return { type, id };
  }
}

function comparable(message: Message): unknown {
  const plain = { type: message.type, id: requestKey(message.id), method: message.id.method };
  if ('payload' in message) return { ...plain, payload: Buffer.from(message.payload).toString('hex') };
  return 'description' in message ? { ...plain, description: message.description } : plain;
}

describe('golden messages', () => {
  const plain = vectors.messages.filter(({ message }) => !message.zip);
  // We send FUNCTION with an empty bin as metadata, as Python does; the empty array is only read.
  const written = plain.filter(({ message }) => !(message.type === 1 && message.metadata));

  test.each(written.map((vector) => [vector.id, vector] as const))(
    '%s is written byte for byte',
    (_id, vector) => {
      const { header, body } = encodeMessage(messageOf(vector));
      expect(Buffer.from(header).toString('hex')).toBe(vector.header_hex);
      if (vector.body_hex === undefined) {
        expect(body.length).toBe(vector.body_len);
        expect(createHash('sha256').update(body).digest('hex')).toBe(vector.body_sha256);
      } else expect(Buffer.from(body).toString('hex')).toBe(vector.body_hex);
    },
  );

  const readable = vectors.messages.filter(({ body_hex }) => body_hex !== undefined);
  test.each(readable.map((vector) => [vector.id, vector] as const))('%s is read', (_id, vector) => {
    const decoded = decodeMessage(hex(vector.header_hex), hex(vector.body_hex ?? ''), limits);
    if (!decoded.ok) throw new Error(decoded.fault);
    expect(comparable(decoded.message)).toEqual(comparable(messageOf(vector)));
  });

  test.each(vectors.upper_layers.map((layer) => [layer.id, layer] as const))(
    '%s passes as an opaque payload',
    (_id, layer) => {
      const decoded = decodeMessage(hex(layer.header_hex), hex(layer.body_hex), limits);
      if (!decoded.ok) throw new Error(decoded.fault);
      const again = encodeMessage(decoded.message);
      expect(Buffer.from(again.header).toString('hex')).toBe(layer.header_hex);
      expect(Buffer.from(again.body).toString('hex')).toBe(layer.body_hex);
    },
  );
});

/** Cases that end a Python peer, and what they are called here. `owed`: a FUNCTION that still gets an answer. */
const REFUSED: Readonly<Record<string, { readonly fault: MessageFault; readonly owed: boolean }>> = {
  'header-missing-type': { fault: 'header-missing-key', owed: false },
  'header-missing-meth': { fault: 'header-missing-key', owed: false },
  'header-missing-okey': { fault: 'header-missing-key', owed: false },
  'header-missing-seq': { fault: 'header-missing-key', owed: false },
  'header-missing-zip': { fault: 'header-missing-key', owed: false },
  'header-empty': { fault: 'header-not-msgpack', owed: false },
  'header-invalid-msgpack': { fault: 'header-not-msgpack', owed: false },
  'header-not-map': { fault: 'header-not-a-map', owed: false },
  'header-bin-keys': { fault: 'header-missing-key', owed: false },
  'header-int-key': { fault: 'header-map-key-type', owed: false },
  'header-trailing-byte': { fault: 'header-trailing-bytes', owed: false },
  'type-7': { fault: 'header-unknown-type', owed: false },
  'type-str': { fault: 'header-unknown-type', owed: false },
  'okey-map': { fault: 'id-not-hashable', owed: true },
  'zip-1-uncompressed': { fault: 'body-not-snappy', owed: true },
  'zip-true-uncompressed': { fault: 'body-not-snappy', owed: true },
  'zip-true-framed-snappy': { fault: 'body-not-snappy', owed: true },
  'body-empty': { fault: 'body-not-msgpack', owed: true },
  'body-missing-meta': { fault: 'body-missing-key', owed: true },
  'body-missing-body': { fault: 'body-missing-key', owed: true },
  'meta-wrong-arity': { fault: 'metadata-malformed', owed: true },
  'body-text': { fault: 'payload-not-binary', owed: true },
  'body-nil': { fault: 'payload-not-binary', owed: true },
  'cancel-no-body-key': { fault: 'body-missing-key', owed: false },
  'failure-4-fields': { fault: 'metadata-malformed', owed: false },
  'failure-2-fields': { fault: 'metadata-malformed', owed: false },
  // Python reads this one and then finds no such method, which ends it as well.
  'meth-bin': { fault: 'method-not-text', owed: true },
};
/** The payload is the serializer's business; a strict one refuses these. */
const REFUSED_BY_SERIALIZER = ['inner-empty', 'inner-trailing'];

describe('decode cases', () => {
  test.each(vectors.decode_cases.map((item) => [item.id, item] as const))('%s', (id, item) => {
    const decoded = decodeMessage(hex(item.header_hex), hex(item.body_hex), limits);
    const refusal = REFUSED[id];
    if (refusal) {
      const request = refusal.owed ? expect.anything() : undefined;
      expect(decoded).toEqual({ ok: false, fault: refusal.fault, request });
      return;
    }
    if (!decoded.ok) throw new Error(decoded.fault);
    const { message } = decoded;
    if (REFUSED_BY_SERIALIZER.includes(id)) {
      expect(() => msgpack.unpack('payload' in message ? message.payload : Buffer.alloc(0))).toThrow();
      return;
    }
    expect(item.python).toBe('accepted');
    expect(message.type).toBe(typeName(item.decoded?.type ?? -1));
    if ('payload' in message) expect(msgpack.unpack(message.payload)).toEqual(item.decoded?.body);
  });

  test('every case that ends a Python peer has a name here', () => {
    const fatal = vectors.decode_cases.filter(({ python }) => python === 'exception').map(({ id }) => id);
    expect(fatal.filter((id) => !(id in REFUSED) && !REFUSED_BY_SERIALIZER.includes(id))).toEqual([]);
  });
});

describe('limits of a message', () => {
  const { header, body } = encodeMessage({
    type: 'FUNCTION',
    id: createRequestId('m', '', 0),
    payload: Buffer.alloc(100),
  });

  test('a body above the limit is refused', () => {
    expect(decodeMessage(header, body, { maxBodyBytes: 100 })).toMatchObject({ fault: 'body-too-large' });
  });

  test('a header with thousands of values is refused without reading them all', () => {
    const many = Buffer.concat([Buffer.of(0xde, 0x20, 0x00), Buffer.alloc(0x4000, 0xa0)]);
    expect(decodeMessage(many, body, limits)).toMatchObject({ fault: 'header-not-msgpack' });
  });

  test('a deeply nested header is refused without overflowing the stack', () => {
    const nested = Buffer.concat([Buffer.of(0x81, 0xa1, 0x61), Buffer.alloc(60_000, 0x91)]);
    expect(decodeMessage(nested, body, limits)).toMatchObject({ fault: 'header-not-msgpack' });
  });

  test('a method name that is not UTF-8 is refused, and its caller gets an answer', () => {
    const bad = Buffer.from(Buffer.from(header).toString('latin1').replace('\xa1m', '\xa1\xff'), 'latin1');
    expect(decodeMessage(bad, body, limits)).toMatchObject({ fault: 'method-not-text', request: {} });
  });
});

describe('request keys', () => {
  test('differ for text and binary order keys', () => {
    expect(requestKey(createRequestId('m', '', 0))).not.toBe(
      requestKey(createRequestId('m', new Uint8Array(0), 0)),
    );
  });
});
