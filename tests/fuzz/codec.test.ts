import { createCodec } from '../../src/codec/index.js';
import { readPickle } from '../../src/codec/pickle/reader.js';
import { decodeStreamMessage } from '../../src/callosum/pubsub/stream-message.js';
import { compress, decompress } from '../../src/callosum/wire/snappy.js';
import { hasCode } from '../../src/core/errors.js';
import { goldenPayloads, goldenPickles, INPUTS, SEED } from './inputs.js';
import { mutateSome } from './mutations.js';
import { Random } from './random.js';

const codec = createCodec();
const TIME_LIMIT_MS = Math.max(60_000, INPUTS * 2);

/** Runs a reader on a mutated input; whatever it throws must be one of ours. */
function expectNamedRefusal(bytes: Buffer, read: (bytes: Buffer) => unknown): void {
  try {
    read(bytes);
  } catch (error) {
    if (hasCode(error, 'CODEC_UNDECODABLE') || hasCode(error, 'CODEC_PICKLE_REFUSED')) return;
    throw new Error(`not a named refusal: ${bytes.toString('hex').slice(0, 2000)}`, { cause: error });
  }
}

test(
  `${String(INPUTS)} payloads are read or refused by name`,
  () => {
    const golden = goldenPayloads();
    expect(golden.length).toBeGreaterThan(200);
    const random = new Random(SEED);
    for (let i = 0; i < INPUTS; i++)
      expectNamedRefusal(mutateSome(random.oneOf(golden), golden, random), (bytes) => codec.unpack(bytes));
  },
  TIME_LIMIT_MS,
);

test(
  `${String(INPUTS)} pickles are read or refused by name`,
  () => {
    const golden = goldenPickles();
    const random = new Random(SEED);
    for (let i = 0; i < INPUTS; i++)
      expectNamedRefusal(mutateSome(random.oneOf(golden), golden, random), (bytes) => readPickle(bytes));
  },
  TIME_LIMIT_MS,
);

test(
  `${String(INPUTS)} snappy blocks are decompressed within their bound or refused`,
  () => {
    const golden = goldenPayloads().map((payload) => Buffer.from(compress(payload)));
    const random = new Random(SEED);
    for (let i = 0; i < INPUTS; i++) {
      const result = decompress(mutateSome(random.oneOf(golden), golden, random), 65_536);
      if (result.ok) expect(result.bytes.length).toBeLessThanOrEqual(65_536);
    }
  },
  TIME_LIMIT_MS,
);

test('stream messages are read or refused', () => {
  const random = new Random(SEED);
  const frames = ['5550504552', '91c409ebf4d09348e3c48100', '81a568656c6c6f01'].map((hex) =>
    Buffer.from(hex, 'hex'),
  );
  for (let i = 0; i < INPUTS / 10; i++) {
    const changed = frames.map((frame) =>
      random.below(2) === 0 ? frame : mutateSome(frame, frames, random),
    );
    decodeStreamMessage(changed, { maxPayloadBytes: 1000 });
  }
});

/**
 * Each of these is a mebibyte or so. Read in time proportional to its length it takes milliseconds; in proportion
 * to the square it would outlast the time limit of the test by far.
 */
describe('no input costs more than its length', () => {
  const start = Buffer.from('8005', 'hex');
  const text = (value: string) => Buffer.concat([Buffer.of(0x8c, value.length), Buffer.from(value)]);
  const longText = (value: Buffer) => {
    const head = Buffer.of(0x58, 0, 0, 0, 0);
    head.writeUInt32LE(value.length, 1);
    return Buffer.concat([head, value]);
  };
  const classOf = (module: string, name: string) =>
    Buffer.concat([text(module), text(name), Buffer.of(0x93)]);
  const memoize = Buffer.of(0x94);
  const many = (count: number, piece: Buffer) => Buffer.alloc(count * piece.length, piece);
  const stop = Buffer.of(0x2e);

  const amounts = Buffer.concat([
    Buffer.from('7d28', 'hex'),
    ...Array.from({ length: 40_000 }, (_, i) => Buffer.concat([text(`slot${String(i)}`), text('1')])),
    Buffer.from('7594', 'hex'),
  ]);
  const pickles: readonly (readonly [string, Buffer])[] = [
    [
      'a large map, named again and again',
      Buffer.concat([
        start,
        classOf('ai.backend.common.types', 'ResourceSlot'),
        memoize,
        amounts,
        many(50_000, Buffer.from('680068018552', 'hex')),
        stop,
      ]),
    ],
    [
      'a long number, named again and again',
      Buffer.concat([
        start,
        classOf('decimal', 'Decimal'),
        memoize,
        longText(Buffer.alloc(500_000, '1')),
        memoize,
        many(80_000, Buffer.from('680068018552', 'hex')),
        stop,
      ]),
    ],
    ['tuples in tuples', Buffer.concat([start, Buffer.of(0x29), many(1_000_000, Buffer.of(0x85)), stop])],
    [
      'tuples that double',
      Buffer.concat([start, Buffer.from('2994', 'hex'), many(200_000, Buffer.from('680086', 'hex')), stop]),
    ],
    ['marks', Buffer.concat([start, many(1_000_000, Buffer.of(0x28)), stop])],
    ['memo entries', Buffer.concat([start, Buffer.of(0x4e), many(1_000_000, memoize), stop])],
    ['empty maps', Buffer.concat([start, many(1_000_000, Buffer.of(0x7d)), stop])],
    [
      'a class name of a mebibyte',
      Buffer.concat([
        start,
        longText(Buffer.alloc(500_000, 'a')),
        memoize,
        many(100_000, Buffer.from('6800680093', 'hex')),
        stop,
      ]),
    ],
  ];
  test.each(pickles)('pickle: %s', (_what, pickle) => {
    expect(pickle.length).toBeLessThanOrEqual(1024 * 1024 + 500_000);
    expect(() => readPickle(pickle.subarray(0, 1024 * 1024))).toThrow(
      expect.objectContaining({ code: 'CODEC_PICKLE_REFUSED' }),
    );
  });

  const pairs = (count: number, key: (i: number) => Buffer) => {
    const head = Buffer.of(0xdf, 0, 0, 0, 0);
    head.writeUInt32BE(count, 1);
    return Buffer.concat([
      head,
      ...Array.from({ length: count }, (_, i) => Buffer.concat([key(i), Buffer.of(0xc0)])),
    ]);
  };
  const number = (i: number) => {
    const bytes = Buffer.of(0xce, 0, 0, 0, 0);
    bytes.writeUInt32BE(i, 1);
    return bytes;
  };
  const payloads: readonly (readonly [string, Buffer, boolean])[] = [
    ['arrays in arrays', Buffer.concat([many(1_000_000, Buffer.of(0x91)), Buffer.of(0xc0)]), false],
    ['maps in maps as keys', Buffer.concat([many(1_000_000, Buffer.of(0x81)), Buffer.of(0xc0)]), false],
    ['arrays as keys in arrays as keys', many(500_000, Buffer.from('8191', 'hex')), false],
    ['an array of a billion items', Buffer.from('dd3b9aca00', 'hex'), false],
    [
      'a million items',
      Buffer.concat([Buffer.from('dd000f4240', 'hex'), many(1_000_000, Buffer.of(0x90))]),
      false,
    ],
    ['a map of 150000 numbers', pairs(150_000, number), true],
    ['a map of 150000 arrays', pairs(150_000, (i) => Buffer.concat([Buffer.of(0x91), number(i)])), true],
    ['one key a hundred thousand times', pairs(100_000, () => Buffer.from('a161', 'hex')), true],
  ];
  test.each(payloads)('msgpack: %s', (_what, payload, accepted) => {
    if (accepted) codec.unpack(payload);
    else expect(() => codec.unpack(payload)).toThrow(expect.objectContaining({ code: 'CODEC_UNDECODABLE' }));
  });

  test('snappy: a mebibyte of copies expands to no more than it announced', () => {
    const copies = Buffer.concat([
      Buffer.from('8080800800 61'.replaceAll(' ', ''), 'hex'),
      many(349_525, Buffer.from('fe0100', 'hex')),
    ]);
    const result = decompress(copies, 16 << 20);
    expect(result.ok ? result.bytes.length : result.fault).toBe('body-not-snappy');
  });
});

describe('maps as keys of maps', () => {
  test.each([
    ['a map with text keys', '8181a161c0c0'],
    ['a map with other keys', '818101c0c0'],
    ['an array with a map inside', '819181a161c0c0'],
    ['an array in an array with a map inside', '81919180c0'],
    ['an empty map', '8180c0'],
  ])('%s is refused by name', (_what, hex) => {
    expect(() => codec.unpack(Buffer.from(hex, 'hex'))).toThrow(
      expect.objectContaining({ code: 'CODEC_UNDECODABLE', message: 'a map cannot be the key of a map' }),
    );
  });

  test('arrays as keys may hold everything else, and text stays apart from numbers', () => {
    const unpacked = codec.unpack(Buffer.from('8291 01 c2 91 a131 c3'.replaceAll(' ', ''), 'hex'));
    expect(unpacked).toEqual(
      new Map([
        ['[1]', false],
        ['["1"]', true],
      ]),
    );
    expect(codec.unpack(Buffer.from('8191cfffffffffffffffffc0', 'hex'))).toEqual(
      new Map([['[18446744073709551615]', null]]),
    );
  });
});
