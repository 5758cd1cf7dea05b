import { constants, type Stats } from 'node:fs';
import { open, readdir, readlink, type FileHandle } from 'node:fs/promises';
import { pack, type Header, type Pack } from 'tar-stream';
import { hasCode, ValueError } from '../../core/errors.js';
import { openInPlace, pathAt, type Place } from './work-tree.js';

type Entry = Partial<Header> & Pick<Header, 'name'>;

const BLOCK_BYTES = 512;
const DEPTH_MAX = 256;

/** The original's words, which hold for its bound of 1 MiB. */
export const tooLarge = (maxBytes: number): ValueError =>
  new ValueError(`Too large archive file exceeding ${String(maxBytes / (1024 * 1024))} MiB`);

/**
 * A tar archive of a file or a directory, named after the last name of the path. Links are kept as links; pipes,
 * sockets and devices inside a directory are left out.
 * @throws ValueError above `maxBytes`, before more than that is read, or when the place itself is special.
 */
export async function archiveOf(place: Place, path: string, maxBytes: number): Promise<Uint8Array> {
  if (place.kind !== 'file' && place.kind !== 'directory')
    throw new ValueError(`${path} is neither a file nor a directory`);
  const archive = new Archive(maxBytes);
  if (place.kind === 'file') await archive.addFile(place.handle, place.name, place.stats);
  else await archive.addDirectory(place.at.handle, place.name, place.stats, 0);
  return archive.finish();
}

class Archive {
  readonly #maxBytes: number;
  readonly #pack: Pack = pack();
  readonly #chunks: Buffer[] = [];
  /** What the archive will have at the end, with its two closing blocks. */
  #bytes = 2 * BLOCK_BYTES;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#pack.on('data', (chunk: unknown) => this.#chunks.push(chunk as Buffer));
  }

  async addDirectory(directory: FileHandle, path: string, stats: Stats, depth: number): Promise<void> {
    if (depth > DEPTH_MAX)
      throw new ValueError(`directories are nested deeper than ${String(DEPTH_MAX)} levels`);
    await this.#add({ ...headersOf(`${path}/`, stats), type: 'directory' });
    for (const name of (await readdir(pathAt(directory))).sort()) {
      let handle;
      try {
        handle = await openInPlace(directory, name);
      } catch (error) {
        if (hasCode(error, 'ENOENT')) continue;
        throw error;
      }
      try {
        const inner = await handle.stat();
        const innerPath = `${path}/${name}`;
        if (inner.isDirectory()) await this.addDirectory(handle, innerPath, inner, depth + 1);
        else if (inner.isFile()) await this.addFile(handle, innerPath, inner);
        else if (inner.isSymbolicLink())
          await this.#add({
            ...headersOf(innerPath, inner),
            type: 'symlink',
            linkname: await readlink(pathAt(directory, name)),
          });
      } finally {
        await handle.close();
      }
    }
  }

  async addFile(handle: FileHandle, path: string, stats: Stats): Promise<void> {
    this.#reserve(stats.size);
    const file = await open(pathAt(handle), constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      // The header has promised this size; a file that shrinks meanwhile ends in zeros.
      const content = Buffer.alloc(stats.size);
      for (let length = 0; length < content.length;) {
        const { bytesRead } = await file.read(content, length, content.length - length, length);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      await this.#add({ ...headersOf(path, stats), type: 'file', size: stats.size }, content);
    } finally {
      await file.close();
    }
  }

  async finish(): Promise<Uint8Array> {
    const ended = new Promise<void>((resolve, reject) => {
      this.#pack.once('end', resolve);
      this.#pack.once('error', reject);
    });
    this.#pack.finalize();
    await ended;
    const archive = Buffer.concat(this.#chunks);
    // Long names take blocks that were not counted.
    if (archive.length > this.#maxBytes) throw tooLarge(this.#maxBytes);
    return archive;
  }

  async #add(headers: Entry, content?: Buffer): Promise<void> {
    this.#reserve(0, BLOCK_BYTES);
    await new Promise<void>((resolve, reject) => {
      const done = (error?: Error | null) => {
        if (error) reject(error);
        else resolve();
      };
      if (content) this.#pack.entry(headers, content, done);
      else this.#pack.entry(headers, done);
    });
  }

  #reserve(contentBytes: number, headerBytes = 0): void {
    this.#bytes += headerBytes + Math.ceil(contentBytes / BLOCK_BYTES) * BLOCK_BYTES;
    if (this.#bytes > this.#maxBytes) throw tooLarge(this.#maxBytes);
  }
}

const headersOf = (name: string, stats: Stats): Entry => ({
  name,
  mode: stats.mode & 0o7777,
  mtime: stats.mtime,
  uid: stats.uid,
  gid: stats.gid,
});
