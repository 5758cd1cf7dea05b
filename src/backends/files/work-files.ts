import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises';
import {
  FileNotFoundError,
  hasCode,
  isSpleniumError,
  messageOf,
  PermissionError,
  RuntimeError,
  ValueError,
} from '../../core/errors.js';
import type { BackendFiles, FileEntry, FileListing, KernelHandle } from '../backend.js';
import { modeText } from './file-mode.js';
import { DOWNLOAD_REFUSAL, LIST_REFUSAL, UPLOAD_REFUSAL } from './refusals.js';
import { archiveOf, tooLarge } from './work-archive.js';
import { pathAt, WorkTree, type Place, type WorkPlaces } from './work-tree.js';

/** Where the files of one kernel are, and whom new ones belong to; null: to this process's own user. */
export interface KernelPlaces extends WorkPlaces {
  readonly uid: number | null;
  readonly gid: number | null;
}

export interface WorkFilesOptions {
  readonly placesOf: (handle: KernelHandle) => KernelPlaces;
  /** How many entries one listing shows at most. */
  readonly listMaxEntries: number;
}

/** The files of kernels whose work directories lie on this machine, and those of the folders shown there. */
export class WorkFiles implements BackendFiles {
  readonly #placesOf: (handle: KernelHandle) => KernelPlaces;
  readonly #listMaxEntries: number;

  constructor(options: WorkFilesOptions) {
    this.#placesOf = options.placesOf;
    this.#listMaxEntries = options.listMaxEntries;
  }

  /**
   * Replaces the file as a whole, making missing directories. As in the original an absolute path is refused, even
   * one below the home directory.
   * @throws PermissionError, or RuntimeError when the system refuses.
   */
  async upload(handle: KernelHandle, path: string, data: Uint8Array): Promise<void> {
    const { uid, gid } = this.#placesOf(handle);
    if (path.startsWith('/')) throw new PermissionError(UPLOAD_REFUSAL);
    try {
      await this.#tree(handle).at(path, { refusal: UPLOAD_REFUSAL, create: { uid, gid } }, async (place) => {
        if (place.kind === 'directory') throw new RuntimeError(`${path} is a directory`);
        if (place.kind === 'special') throw new RuntimeError(`${path} is not a regular file`);
        if (!place.parent.writable) throw new PermissionError('the folder is mounted read-only');
        await replaceFile(place, data, { uid, gid });
      });
    } catch (error) {
      throw isSpleniumError(error)
        ? error
        : new RuntimeError(`Could not upload the file to: ${path} (${messageOf(error)})`, { cause: error });
    }
  }

  async downloadArchive(handle: KernelHandle, path: string, maxBytes: number): Promise<Uint8Array> {
    return this.#download(handle, path, (place) => archiveOf(place, path, maxBytes));
  }

  async downloadSingle(handle: KernelHandle, path: string, maxBytes: number): Promise<Uint8Array> {
    return this.#download(handle, path, async (place) => {
      if (place.kind !== 'file')
        throw new ValueError(`${path} is not a single file: download it as an archive`);
      if (place.stats.size > maxBytes) throw tooLarge(maxBytes);
      return readWhole(place.handle, maxBytes);
    });
  }

  async list(handle: KernelHandle, path: string): Promise<FileListing> {
    try {
      return await this.#tree(handle).at(path, { refusal: LIST_REFUSAL }, async (place) => {
        if (place.kind === 'missing') return { entries: [], errors: `No such file or directory: ${path}\n` };
        if (place.kind !== 'directory') return { entries: [], errors: `Not a directory: ${path}\n` };
        return await this.#entries(place.at.handle);
      });
    } catch (error) {
      if (isSpleniumError(error)) throw error;
      return { entries: [], errors: `${messageOf(error)}\n` };
    }
  }

  async #entries(directory: FileHandle): Promise<FileListing> {
    const names = (await readdir(pathAt(directory))).sort();
    const entries: FileEntry[] = [];
    let errors = '';
    for (const filename of names.slice(0, this.#listMaxEntries))
      try {
        const stats = await lstat(pathAt(directory, filename));
        entries.push({
          filename,
          mode: modeText(stats.mode),
          sizeBytes: stats.size,
          ctimeMs: stats.ctimeMs,
          mtimeMs: stats.mtimeMs,
          atimeMs: stats.atimeMs,
        });
      } catch (error) {
        // Deleted in between; or its name is no UTF-8 and cannot be shown.
        if (!hasCode(error, 'ENOENT')) errors += `${filename}: ${messageOf(error)}\n`;
      }
    if (names.length > this.#listMaxEntries)
      errors += `${String(names.length - this.#listMaxEntries)} more entries are not shown\n`;
    return { entries, errors };
  }

  async #download(
    handle: KernelHandle,
    path: string,
    read: (place: Place) => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    try {
      return await this.#tree(handle).at(path, { refusal: DOWNLOAD_REFUSAL }, async (place) => {
        if (place.kind === 'missing') throw new FileNotFoundError(path);
        return await read(place);
      });
    } catch (error) {
      if (isSpleniumError(error) && error.code !== 'FILE_NOT_FOUND') throw error;
      throw new RuntimeError(`Could not download the archive to: ${path}`, { cause: error });
    }
  }

  #tree(handle: KernelHandle): WorkTree {
    return new WorkTree(this.#placesOf(handle));
  }
}

/** A reader sees the old content or the new one; a link that is put in place meanwhile is replaced, not followed. */
async function replaceFile(
  place: Exclude<Place, { kind: 'directory' }>,
  data: Uint8Array,
  owner: { readonly uid: number | null; readonly gid: number | null },
): Promise<void> {
  const directory = place.parent.handle;
  const temporary = pathAt(directory, `.upload-${randomBytes(8).toString('hex')}`);
  const mode = place.kind === 'missing' ? 0o644 : place.stats.mode & 0o777;
  try {
    const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
    try {
      await file.writeFile(data);
      await file.chmod(mode);
      if (owner.uid !== null) await file.chown(owner.uid, owner.gid ?? owner.uid);
    } finally {
      await file.close();
    }
    await rename(temporary, pathAt(directory, place.name));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** The handle stands for a regular file, so opening it anew never waits. */
async function readWhole(handle: FileHandle, maxBytes: number): Promise<Uint8Array> {
  const file = await open(pathAt(handle), constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const buffer = Buffer.alloc(Math.min(maxBytes, (await file.stat()).size) + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
      length += bytesRead;
      if (length > maxBytes) throw tooLarge(maxBytes);
      if (bytesRead === 0 || length === buffer.length) return buffer.subarray(0, length);
    }
  } finally {
    await file.close();
  }
}
