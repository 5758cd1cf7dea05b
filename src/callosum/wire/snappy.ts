import { uncompress } from 'snappyjs';

export type SnappyResult =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | { readonly ok: false; readonly fault: 'body-not-snappy' | 'body-too-large' };

/**
 * Decompresses a raw snappy block (not the framing format). The length it announces is compared with the limit
 * before anything is allocated.
 */
export function decompress(block: Uint8Array, maxBytes: number): SnappyResult {
  const length = announcedLength(block);
  if (length === undefined) return { ok: false, fault: 'body-not-snappy' };
  if (length > maxBytes) return { ok: false, fault: 'body-too-large' };
  try {
    return { ok: true, bytes: uncompress(block, maxBytes) };
  } catch {
    return { ok: false, fault: 'body-not-snappy' };
  }
}

/** The varint in front of a block; undefined unless it ends within five bytes and fits 32 bits. */
function announcedLength(block: Uint8Array): number | undefined {
  let length = 0;
  for (let i = 0; i < Math.min(block.length, 5); i++) {
    const byte = block[i] ?? 0;
    length += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return length > 0xffff_ffff ? undefined : length;
  }
  return undefined;
}
