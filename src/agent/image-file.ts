import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';

/**
 * Writes an archive compressed to a file in a directory that is there, piece by piece. The target appears when it is whole; a failure leaves
 * nothing. @throws the archive's error, the file system's, or the signal's reason.
 */
export async function writeCompressed(
  archive: AsyncIterable<Uint8Array>,
  places: { readonly partial: string; readonly target: string },
  signal: AbortSignal,
): Promise<void> {
  const { partial, target } = places;
  try {
    // One may be there that an earlier run could not finish.
    await rm(partial, { force: true });
    await pipeline(archive, createGzip(), createWriteStream(partial, { flags: 'wx', flush: true }), {
      signal,
    });
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}
