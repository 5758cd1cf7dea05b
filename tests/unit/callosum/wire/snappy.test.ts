import { compress, decompress } from '../../../../src/callosum/wire/snappy.js';
import { createHash } from 'node:crypto';
import { readVectors } from '../../../support/vectors.js';

interface Block {
  readonly id: string;
  readonly plain_len: number;
  readonly plain_sha256: string;
  readonly compressed_hex: string;
}
const { blocks } = readVectors<{ readonly blocks: readonly Block[] }>('snappy.json');

test.each(blocks.map((block) => [block.id, block] as const))('%s is decompressed', (_id, block) => {
  const result = decompress(Buffer.from(block.compressed_hex, 'hex'), 1 << 20);
  if (!result.ok) throw new Error(result.fault);
  expect(result.bytes.length).toBe(block.plain_len);
  expect(createHash('sha256').update(result.bytes).digest('hex')).toBe(block.plain_sha256);
});

test('the announced length is checked before anything is decompressed', () => {
  expect(decompress(Buffer.of(0xff, 0xff, 0xff, 0xff, 0x0f, 0x00), 1000)).toEqual({
    ok: false,
    fault: 'body-too-large',
  });
  expect(decompress(Buffer.of(0x05, 0x10, 1, 2, 3, 4, 5), 4)).toEqual({ ok: false, fault: 'body-too-large' });
});

test.each([
  ['nothing', ''],
  ['a length without end', 'ffffffffff'],
  ['a length above 32 bits', 'ffffffff7f00'],
  ['a literal longer than the block', '1010'],
  ['a copy from before the start', '040d00'],
  ['less than announced', '050461'],
  ['more than announced', '01046162'],
  ['a literal whose length is cut off', '10f0'],
  // As a signed number this length is negative: a reader that adds it goes back and never ends.
  ['a literal of four gigabytes', '10fcf0ffffff00000000'],
  ['a literal of three length bytes beyond the block', '10f8ffffff00'],
  ['a copy of offset zero', '0500610100'],
  ['a copy whose offset is cut off', '05006102'],
  ['a copy of four offset bytes cut off', '050061030100'],
  ['a copy from before the start by four bytes', '0500610f02000080'],
  ['a copy beyond what was announced', '0300610d01'],
  ['the framing format', 'ff060000734e61507059'],
])('%s is refused', (_what, block) => {
  expect(decompress(Buffer.from(block, 'hex'), 1000)).toEqual({ ok: false, fault: 'body-not-snappy' });
});

test('a copy may overlap what it writes', () => {
  // a, then ten times the byte before
  const result = decompress(Buffer.from('0b0061260100', 'hex'), 100);
  expect(result).toEqual({ ok: true, bytes: Buffer.from('a'.repeat(11)) });
});

test('what is compressed comes back', () => {
  for (const size of [0, 1, 59, 60, 61, 1000, 70_000]) {
    const plain = Buffer.from(Array.from({ length: size }, (_, i) => (i * i) % 251));
    expect(decompress(compress(plain), size)).toEqual({ ok: true, bytes: plain });
  }
});

test('the whole expansion of a block that only copies stays within what it announced', () => {
  const copies = Buffer.concat([
    Buffer.from('8080c0020061', 'hex'),
    Buffer.alloc(3 * 100_000, Buffer.of(0xfe, 1, 0)),
  ]);
  expect(decompress(copies, 16 << 20)).toEqual({ ok: false, fault: 'body-not-snappy' });
});
