import { constants, type Stats } from 'node:fs';
import { chown, mkdir, open, readlink, type FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import { hasCode, PermissionError } from '../../core/errors.js';

/** Where a kernel's files are for its users, wherever they really are. */
export const HOME = '/home/work';

/** Linux, everywhere but on Alpha, PA-RISC and SPARC; Node.js has no name for it. */
const O_PATH = 0o10000000;
const LINKS_MAX = 40;

/** A folder of this machine that a kernel sees below its work directory. */
export interface ShownFolder {
  /** Path below the work directory, without a slash at either end. */
  readonly at: string;
  readonly source: string;
  readonly permission: 'ro' | 'rw';
}

/** How folders are shown: by a link in the work directory, or over whatever lies there, in the kernel's own view. */
export type FolderView = 'linked' | 'mounted';

/** What the tree of one kernel consists of. */
export interface WorkPlaces {
  readonly work: string;
  readonly folders: readonly ShownFolder[];
  readonly view: FolderView;
}

/** A directory that stays the same however names above it are changed meanwhile. */
export interface Anchor {
  readonly handle: FileHandle;
  /** May be written to? */
  readonly writable: boolean;
}

export type Place =
  | { readonly kind: 'directory'; readonly at: Anchor; readonly stats: Stats; readonly name: string }
  | ({ readonly kind: 'file' } & Leaf)
  | ({ readonly kind: 'special' } & Leaf)
  | { readonly kind: 'missing'; readonly parent: Anchor; readonly name: string };

interface Leaf {
  readonly parent: Anchor;
  readonly name: string;
  readonly handle: FileHandle;
  readonly stats: Stats;
}

export interface WalkOptions {
  /** What to say when the path leads outside. */
  readonly refusal: string;
  /** Makes missing directories, owned like this: those on the way, with `last` also the one the path names. */
  readonly create?: { readonly uid: number | null; readonly gid: number | null; readonly last?: boolean };
}

/** Path of a name in an anchored directory, or of what the handle itself stands for. */
export const pathAt = (handle: FileHandle, name?: string): string =>
  `/proc/self/fd/${String(handle.fd)}${name === undefined ? '' : `/${name}`}`;

/**
 * Finds places below a kernel's work directory while the kernel's own processes change it. The path is walked one
 * name at a time, each relative to a held directory and without following links; links are read and walked in turn,
 * so what leads outside is refused even if it is put there in the middle. Folders that the plan shows count as inside.
 */
export class WorkTree {
  readonly #places: WorkPlaces;

  constructor(places: WorkPlaces) {
    this.#places = places;
  }

  /**
   * Runs `use` with the place the path names, and lets go of it afterwards.
   * @throws PermissionError when the path leads outside; errors of the system (ENOENT, ENOTDIR, ELOOP) as they are.
   */
  async at<T>(path: string, options: WalkOptions, use: (place: Place) => Promise<T>): Promise<T> {
    const walk = new Walk(this.#places, options);
    try {
      return await use(await walk.to(path));
    } finally {
      await walk.close();
    }
  }
}

/** Opens a name without following it and without touching what it stands for, be it a pipe or a device. */
export const openInPlace = (directory: FileHandle, name: string): Promise<FileHandle> =>
  open(pathAt(directory, name), O_PATH | constants.O_NOFOLLOW);

class Walk {
  readonly #places: WorkPlaces;
  readonly #options: WalkOptions;
  readonly #held: FileHandle[] = [];
  /** From the root, or from the source of a mount, down to where the walk is. */
  #stack: { readonly at: Anchor; readonly name: string }[] = [];

  constructor(places: WorkPlaces, options: WalkOptions) {
    this.#places = places;
    this.#options = options;
  }

  async to(path: string): Promise<Place> {
    if (path.includes('\0')) throw this.#refuse();
    let names = split(this.#relative(posix.normalize(path === '' ? '.' : path)));
    await this.#enter(this.#places.work, posix.basename(HOME), true);
    let links = 0;
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      if (name === '..') {
        this.#stack.pop();
        if (this.#stack.length === 0) throw this.#refuse();
        continue;
      }
      const folder = this.#mountedAt(name);
      if (folder) {
        await this.#enter(folder.source, name, folder.permission === 'rw');
        continue;
      }
      const { at: parent } = this.#top();
      const handle = await this.#open(parent, name, names.length > 0);
      if (handle === null) return { kind: 'missing', parent, name };
      const stats = await handle.stat();
      if (stats.isSymbolicLink()) {
        links += 1;
        if (links > LINKS_MAX) throw systemError('ELOOP', 'too many links');
        names = [...(await this.#follow(name, await readlink(pathAt(parent.handle, name)))), ...names];
      } else if (stats.isDirectory()) {
        this.#stack.push({ at: { handle, writable: parent.writable }, name });
      } else if (names.length > 0) {
        throw systemError('ENOTDIR', 'not a directory');
      } else {
        return { kind: stats.isFile() ? 'file' : 'special', parent, name, handle, stats };
      }
    }
    const { at, name } = this.#top();
    return { kind: 'directory', at, name, stats: await at.handle.stat() };
  }

  async close(): Promise<void> {
    for (const handle of this.#held) await handle.close();
  }

  /** Prepares to walk what a link says. @returns names that come before the rest of the path. */
  async #follow(name: string, target: string): Promise<string[]> {
    if (!target.startsWith('/')) return split(target);
    const folder = this.#places.view === 'linked' ? this.#linkedBy(name, target) : undefined;
    this.#stack = [];
    if (folder) {
      await this.#enter(folder.source, posix.basename(folder.at), folder.permission === 'rw');
      return [];
    }
    const inside = this.#relative(target);
    await this.#enter(this.#places.work, posix.basename(HOME), true);
    return split(inside);
  }

  /** One folder may be shown at several places; a link that is none of these gets no more than the least of them. */
  #linkedBy(name: string, target: string): ShownFolder | undefined {
    const place = this.#placeOf(name);
    const ofTarget = this.#places.folders.filter(({ source }) => source === target);
    return (
      ofTarget.find(({ at }) => at === place) ??
      ofTarget.find(({ permission }) => permission === 'ro') ??
      ofTarget[0]
    );
  }

  /** The folder that covers this name in the kernel's view. */
  #mountedAt(name: string): ShownFolder | undefined {
    const { folders, view } = this.#places;
    if (view !== 'mounted' || folders.length === 0) return undefined;
    const place = this.#placeOf(name);
    return folders.find(({ at }) => at === place);
  }

  /** Path of a name in the directory where the walk is. */
  #placeOf(name: string): string {
    return [...this.#stack.slice(1).map((step) => step.name), name].join('/');
  }

  /** Path below the work directory, which has two names: where it is, and where the user believes it is. */
  #relative(path: string): string {
    if (!path.startsWith('/')) return path;
    for (const home of [HOME, this.#places.work]) {
      if (path === home) return '.';
      if (path.startsWith(`${home}/`)) return path.slice(home.length + 1);
    }
    throw this.#refuse();
  }

  async #enter(path: string, name: string, writable: boolean): Promise<void> {
    const handle = this.#hold(await open(path, O_PATH | constants.O_DIRECTORY));
    this.#stack.push({ at: { handle, writable }, name });
  }

  /** Null for a missing last name. */
  async #open(parent: Anchor, name: string, isParent: boolean): Promise<FileHandle | null> {
    try {
      return this.#hold(await openInPlace(parent.handle, name));
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
      const { create } = this.#options;
      if (!isParent && create?.last !== true) return null;
      if (create === undefined) throw error;
      if (!parent.writable) throw new PermissionError('the folder is mounted read-only');
      const path = pathAt(parent.handle, name);
      await mkdir(path, { mode: 0o755 }).catch((cause: unknown) => {
        if (!hasCode(cause, 'EEXIST')) throw cause;
      });
      const handle = this.#hold(await openInPlace(parent.handle, name));
      if (create.uid !== null && (await handle.stat()).isDirectory())
        await chown(pathAt(handle), create.uid, create.gid ?? create.uid);
      return handle;
    }
  }

  #hold(handle: FileHandle): FileHandle {
    this.#held.push(handle);
    return handle;
  }

  #top(): { readonly at: Anchor; readonly name: string } {
    const top = this.#stack.at(-1);
    if (top === undefined) throw this.#refuse();
    return top;
  }

  #refuse(): PermissionError {
    return new PermissionError(this.#options.refusal);
  }
}

const split = (path: string): string[] => path.split('/').filter((name) => name !== '' && name !== '.');

function systemError(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}
