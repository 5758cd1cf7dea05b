import { decompress } from '../../../../src/callosum/wire/snappy.js';
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
])('%s is refused', (_what, block) => {
  expect(decompress(Buffer.from(block, 'hex'), 1000)).toEqual({ ok: false, fault: 'body-not-snappy' });
});
