import { compress as compressBlock } from 'snappyjs';

export type SnappyResult =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | { readonly ok: false; readonly fault: 'body-not-snappy' | 'body-too-large' };

const NOT_SNAPPY: SnappyResult = { ok: false, fault: 'body-not-snappy' };
/** A literal this long has its length behind the tag, in as many bytes as the tag is above 59. */
const LONG_LITERAL = 60;

/** A raw snappy block, as the spec calls it: no framing, no checksum. */
export function compress(bytes: Uint8Array): Uint8Array {
  return compressBlock(bytes);
}

/**
 * Decompresses a raw snappy block. The length it announces is compared with the limit before anything is allocated,
 * and nothing is ever written beyond it. Not left to snappyjs, whose reader takes a literal of negative length and
 * then runs in circles, and does not notice a block that yields more or less than it announced.
 */
export function decompress(block: Uint8Array, maxBytes: number): SnappyResult {
  const header = announcedLength(block);
  if (!header) return NOT_SNAPPY;
  if (header.length > maxBytes) return { ok: false, fault: 'body-too-large' };
  const bytes = Buffer.allocUnsafe(header.length);
  return expand(block, header.end, bytes) ? { ok: true, bytes } : NOT_SNAPPY;
}

/** Fills `output` exactly from the elements of a block; false when they do not fit it. */
function expand(block: Uint8Array, start: number, output: Buffer): boolean {
  let at = start;
  let filled = 0;
  while (at < block.length) {
    const tag = block[at] ?? 0;
    const kind = tag & 3;
    // Bytes after the tag: the length of a long literal, or the offset of a copy.
    const extra = kind === 0 ? Math.max(0, (tag >> 2) + 1 - LONG_LITERAL) : kind === 3 ? 4 : kind;
    const number = littleEndian(block, at + 1, extra);
    at += 1 + extra;
    if (at > block.length) return false;
    if (kind === 0) {
      const length = extra === 0 ? (tag >> 2) + 1 : number + 1;
      if (length > block.length - at || length > output.length - filled) return false;
      output.set(block.subarray(at, at + length), filled);
      at += length;
      filled += length;
      continue;
    }
    const length = kind === 1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1;
    const offset = kind === 1 ? number + (tag >> 5) * 256 : number;
    if (offset === 0 || offset > filled || length > output.length - filled) return false;
    copyWithin(output, filled, offset, length);
    filled += length;
  }
  return filled === output.length;
}

/** A copy may reach into what it is writing: with an offset of 1 it repeats one byte. */
function copyWithin(output: Buffer, filled: number, offset: number, length: number): void {
  if (offset >= length) output.copyWithin(filled, filled - offset, filled - offset + length);
  else for (let i = 0; i < length; i++) output[filled + i] = output[filled + i - offset] ?? 0;
}

/** At most 4 bytes, so that the sum stays exact. Bytes beyond the end count as 0; the caller has noticed. */
function littleEndian(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = count - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}

/** The varint in front of a block; undefined unless it ends within five bytes and fits 32 bits. */
function announcedLength(block: Uint8Array): { readonly length: number; readonly end: number } | undefined {
  let length = 0;
  for (let i = 0; i < Math.min(block.length, 5); i++) {
    const byte = block[i] ?? 0;
    length += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return length > 0xffff_ffff ? undefined : { length, end: i + 1 };
  }
  return undefined;
}
