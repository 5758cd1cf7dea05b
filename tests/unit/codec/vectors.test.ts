import { type Dialect, createCodec } from '../../../src/codec/index.js';
import { DateTime } from '../../../src/codec/date-time.js';
import { readPickle } from '../../../src/codec/pickle/reader.js';
import { decodeTemporenc, encodeTemporenc } from '../../../src/codec/temporenc.js';
import { decodedForm, valueOf } from '../../support/codec-values.js';
import { readVectors } from '../../support/vectors.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'hex');

interface CoreVector {
  id: string;
  value: unknown;
  /** Whole, or cut to a prefix where the value is long. */
  hex: string | { $prefix: string; $len: number };
}
interface ExtensionVector {
  id: string;
  value: unknown;
  msgpack_hex: string;
  decoded_by_python?: unknown;
  versions?: Dialect[];
}
interface DecodeCase {
  id: string;
  msgpack_hex: string;
  ok?: string;
  error?: string;
}
interface PickleCase {
  id: string;
  payload_hex: string;
  value: unknown;
}
interface RpcFrame {
  id: string;
  backendai: string;
  body: unknown;
  frames_hex: string[];
}

const core = readVectors<{ vectors: CoreVector[] }>('msgpack-core.json');
const extensions = readVectors<{
  vectors: ExtensionVector[];
  containers: ExtensionVector[];
  decode_cases: DecodeCase[];
}>('msgpack-ext.json');
const pickles = readVectors<{ accept: PickleCase[]; reject: PickleCase[] }>('pickle-restricted.json');
const temporenc = readVectors<{
  encode: { id: string; datetime: string; hex?: string; decoded_datetime?: string }[];
  decode: { id: string; hex: string; decoded_datetime: string | { error: string } }[];
  invalid: { id: string; hex: string }[];
}>('temporenc.json');
const rpc = readVectors<{ requests: RpcFrame[]; responses: RpcFrame[] }>('rpc-requests.json');
const creation = readVectors<{ requests: RpcFrame[]; responses: RpcFrame[] }>('create_kernels-request.json');

const codecOf = (dialect: Dialect) => createCodec({ dialect });

describe('plain values', () => {
  test.each(core.vectors)('$id is written and read as Python does', ({ value, hex: expected }) => {
    const codec = createCodec();
    const packed = codec.pack(valueOf(value));
    if (typeof expected === 'string') expect(hex(packed)).toBe(expected);
    else {
      expect(packed).toHaveLength(expected.$len);
      expect(hex(packed).startsWith(expected.$prefix)).toBe(true);
    }
    expect(decodedForm(codec.unpack(packed))).toEqual(decodedForm(valueOf(value)));
  });
});

/** Python shares memo entries in these two because the sender used one object twice; ours writes the value again. */
const OTHER_SHARING = new Set(['rs-shared-value', 'enum-nested-slotname']);

describe('extension values', () => {
  const all = [...extensions.vectors, ...extensions.containers].flatMap((vector) =>
    (vector.versions ?? ['25.17']).map((dialect) => ({ ...vector, dialect })),
  );
  test.each(all)(
    '$id ($dialect) is read as Python reads it',
    ({ value, msgpack_hex, decoded_by_python, dialect }) => {
      const expected =
        decoded_by_python === 'same' || decoded_by_python === undefined ? value : decoded_by_python;
      expect(decodedForm(codecOf(dialect).unpack(bytesOf(msgpack_hex)))).toEqual(
        decodedForm(valueOf(expected)),
      );
    },
  );
  test.each(all.filter(({ id }) => !OTHER_SHARING.has(id)))(
    '$id ($dialect) is written byte for byte as Python writes it',
    ({ value, msgpack_hex, dialect }) => {
      expect(hex(codecOf(dialect).pack(valueOf(value)))).toBe(msgpack_hex);
    },
  );
  test.each(extensions.decode_cases)('$id: $ok$error', ({ msgpack_hex, ok }) => {
    const unpack = () => createCodec().unpack(bytesOf(msgpack_hex));
    if (ok === undefined) expect(unpack).toThrow();
    else expect(unpack).not.toThrow();
  });
});

describe('restricted pickles', () => {
  test.each(pickles.accept.filter(({ id }) => id !== 'resourceslot-huge'))(
    '$id is accepted',
    ({ payload_hex, value }) => {
      expect(readPickle(bytesOf(payload_hex))).toEqual(valueOf(value));
    },
  );
  test('resourceslot-huge is accepted over two frames and two batches', () => {
    const huge = pickles.accept.find(({ id }) => id === 'resourceslot-huge');
    const read = readPickle(bytesOf(huge?.payload_hex ?? ''));
    expect(read).toHaveProperty('entries.length', 1500);
    expect(read).toHaveProperty('entries.1499', ['device-with-a-long-name-01499.device', '1499']);
  });
  test.each(pickles.reject)('$id is refused', ({ id, payload_hex }) => {
    const code = 7;
    const wrapped = Buffer.concat([extensionHeader(code, payload_hex.length / 2), bytesOf(payload_hex)]);
    const refused =
      id === 'wrong-class-for-code'
        ? () => createCodec().unpack(wrapped)
        : () => readPickle(bytesOf(payload_hex));
    expect(refused).toThrow(expect.objectContaining({ code: expect.stringMatching(/^CODEC_/) as string }));
  });
});

function extensionHeader(code: number, length: number): Buffer {
  const header = Buffer.alloc(6);
  header[0] = 0xc9;
  header.writeUInt32BE(length, 1);
  header[5] = code;
  return header;
}

describe('temporenc', () => {
  test.each(temporenc.encode)('$id', ({ datetime, hex: expected, decoded_datetime }) => {
    const value = DateTime.parse(datetime);
    if (expected === undefined) expect(() => encodeTemporenc(value)).toThrow();
    else {
      expect(hex(encodeTemporenc(value))).toBe(expected);
      expect(decodeTemporenc(bytesOf(expected)).toString()).toBe(decoded_datetime);
    }
  });
  test.each(temporenc.decode)('$id', ({ hex: bytes, decoded_datetime }) => {
    if (typeof decoded_datetime === 'string')
      expect(decodeTemporenc(bytesOf(bytes)).toString()).toBe(decoded_datetime);
    else expect(() => decodeTemporenc(bytesOf(bytes))).toThrow();
  });
  test.each(temporenc.invalid)('$id is refused', ({ hex: bytes }) => {
    expect(() => decodeTemporenc(bytesOf(bytes))).toThrow();
  });
});

describe('payloads of real calls', () => {
  const frames = [...rpc.requests, ...rpc.responses, ...creation.requests, ...creation.responses].filter(
    ({ frames_hex }) => frames_hex.length === 3,
  );
  const payload = (frame: RpcFrame): Uint8Array | null => {
    const outer = createCodec().unpack(bytesOf(frame.frames_hex[2] ?? '')) as { body: Uint8Array | null };
    return outer.body;
  };
  test.each(frames)('$id is read and written back byte for byte', (frame) => {
    const bytes = payload(frame);
    if (bytes === null) return; // a failure: its metadata is the protocol's business
    const codec = codecOf(frame.backendai.startsWith('26') ? '26.8' : '25.17');
    expect(decodedForm(codec.unpack(bytes))).toEqual(decodedForm(valueOf(frame.body)));
    expect(hex(codec.pack(valueOf(frame.body)))).toBe(hex(bytes));
  });
});
