import { appendFile, chmod, chown, lstat, mkdir, open, readdir, rm } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { ScratchPaths } from '../../backends/backend.js';
import { hasCode, InvariantError, messageOf, PermissionError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { ScratchFile } from './plan-scratch.js';
import { HOST_DIRECTORY, mountScratch, type ScratchVolume, unmountScratch } from './scratch-volume.js';

export interface ScratchLayout {
  readonly volume?: ScratchVolume;
  readonly devices?: readonly string[];
}

/**
 * Makes the directory from nothing: what an earlier attempt may have left is removed first. `devices`: names of those
 * that have a directory of their own in `config`.
 * @throws ScratchMountError when the file system of its type cannot be mounted.
 */
export async function prepareScratch(
  scratch: ScratchPaths,
  files: readonly ScratchFile[],
  owner: ScratchOwner,
  { volume = HOST_DIRECTORY, devices = [] }: ScratchLayout = {},
): Promise<void> {
  await removeScratch(scratch);
  await mkdir(dirname(scratch.root), { recursive: true });
  await mkdir(scratch.root, { mode: 0o755 });
  await mountScratch(scratch, volume);
  await chmod(scratch.root, 0o755);
  for (const path of [scratch.config, scratch.work]) {
    await mkdir(path);
    await chmod(path, 0o755);
  }
  for (const device of devices) await mkdir(join(scratch.config, device));
  await owner.give(scratch.work);
  await writeScratchFiles(scratch, files, owner);
}

export async function writeScratchFiles(
  scratch: ScratchPaths,
  files: readonly ScratchFile[],
  owner: ScratchOwner,
): Promise<void> {
  for (const { path, data, mode, directoryMode, ofKernel } of files) {
    const target = join(scratch.root, path);
    await makeParents(scratch, path, directoryMode, ofKernel ? owner : null);
    await writeInside(target, data, mode);
    if (ofKernel) await owner.give(target);
  }
}

/** The last line of `resource.txt`, known only once the container is there. */
export async function appendContainerId(scratch: ScratchPaths, containerId: string): Promise<void> {
  await appendFile(join(scratch.config, 'resource.txt'), `CID=${containerId}\n`);
}

/**
 * Idempotent. What is mounted there is unmounted, directories that the kernel's user locked are opened first.
 * @throws ScratchMountError, before anything is deleted, while a mount stays.
 */
export async function removeScratch(scratch: ScratchPaths): Promise<void> {
  await unmountScratch(scratch);
  try {
    await rm(scratch.root, { recursive: true, force: true });
  } catch (error) {
    if (!hasCode(error, 'EACCES') && !hasCode(error, 'EPERM')) throw error;
    await unlock(scratch.root);
    await rm(scratch.root, { recursive: true, force: true });
  }
}

/** Gives files to the kernel's user: only root can, and a failure is no reason to refuse the kernel (spec 2.8). */
export class ScratchOwner {
  readonly #identity: { readonly uid: number | null; readonly gid: number | null };
  readonly #logger: Logger;
  readonly #isRoot: boolean;

  constructor(
    identity: { readonly uid: number | null; readonly gid: number | null },
    logger: Logger,
    isRoot = process.geteuid?.() === 0,
  ) {
    this.#identity = identity;
    this.#logger = logger;
    this.#isRoot = isRoot;
  }

  async give(path: string): Promise<void> {
    const { uid, gid } = this.#identity;
    if (!this.#isRoot || (uid === null && gid === null)) return;
    try {
      const current = await lstat(path);
      await chown(path, uid ?? current.uid, gid ?? current.gid);
    } catch (error) {
      this.#logger.warn('cannot give a scratch file to the kernel user', { path, error: messageOf(error) });
    }
  }
}

/** Makes the directories between the scratch directory and the file, refusing to go through a link. */
async function makeParents(
  scratch: ScratchPaths,
  path: string,
  mode: number | null,
  owner: ScratchOwner | null,
): Promise<void> {
  const [top = '', ...between] = dirname(path).split('/');
  let current = join(scratch.root, top);
  await checkDirectory(current);
  for (const name of between) {
    current = join(current, name);
    const isNew = await mkdir(current).then(
      () => true,
      (error: unknown) => {
        if (hasCode(error, 'EEXIST')) return false;
        throw error;
      },
    );
    await checkDirectory(current);
    if (isNew || mode !== null) await chmod(current, mode ?? 0o755);
    await owner?.give(current);
  }
  if (relative(scratch.root, current).startsWith('..'))
    throw new InvariantError(`scratch file ${path} leaves the scratch directory`);
}

async function checkDirectory(path: string): Promise<void> {
  if (!(await lstat(path)).isDirectory())
    throw new PermissionError(`${path} is not a directory: a kernel file cannot be written through it`);
}

/** Replaces what is there, a link that a kernel may have put there included, instead of writing through it. */
async function writeInside(path: string, data: ScratchFile['data'], mode: number): Promise<void> {
  await rm(path, { force: true });
  const handle = await open(path, 'wx', mode);
  try {
    await handle.writeFile(data);
    // The mode above is cut by the process' mask.
    await handle.chmod(mode);
  } finally {
    await handle.close();
  }
}

async function unlock(directory: string): Promise<void> {
  await chmod(directory, 0o700);
  for (const entry of await readdir(directory, { withFileTypes: true }))
    if (entry.isDirectory()) await unlock(join(directory, entry.name));
}
