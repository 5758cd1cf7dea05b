/**
 * Memory that kernels may have when some is kept back, as a multiple of the alignment
 * (spec/config-and-resources.md 3.2). It may be negative, and up to one alignment above what is physically left.
 */
export function alignMemory(
  totalBytes: bigint,
  reservedBytes: bigint,
  alignBytes: bigint,
): { readonly usableBytes: bigint; readonly reservedBytes: bigint } {
  const padded = totalBytes + floorMod(totalBytes, alignBytes) - reservedBytes;
  const usableBytes = padded - floorMod(padded, alignBytes);
  return { usableBytes, reservedBytes: totalBytes - usableBytes };
}

const floorMod = (a: bigint, b: bigint): bigint => ((a % b) + b) % b;
