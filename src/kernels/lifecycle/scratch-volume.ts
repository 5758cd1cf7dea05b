import { execFile } from 'node:child_process';
import { chmod, mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { ScratchPaths } from '../../backends/backend.js';
import { messageOf } from '../../core/errors.js';
import { ScratchMountError } from '../errors.js';
import type { LifecycleSettings } from './parts.js';

const run = promisify(execFile);

/** Of each of the two file systems of one `memory` scratch (spec/kernel-lifecycle.md 2.8). */
const TMPFS_SIZE = '64M';
const DEFAULT_IMAGE_BYTES = 8 * 1024 ** 3;
const MOUNT_TIMEOUT_MS = 60_000;

/** How scratch directories are made. */
export interface ScratchVolume {
  readonly type: NonNullable<LifecycleSettings['scratchType']>;
  /** Of the sparse file of `hostfile`; 0: 8 GiB. */
  readonly imageBytes: number;
}

export const HOST_DIRECTORY: ScratchVolume = { type: 'hostdir', imageBytes: 0 };

/**
 * Puts the file system of its type over the scratch directory, which is there and empty, and makes `/tmp` of `memory`.
 * What an error leaves is for `unmountScratch`.
 * @throws ScratchMountError, also where only root could do it.
 */
export async function mountScratch(scratch: ScratchPaths, volume: ScratchVolume): Promise<void> {
  switch (volume.type) {
    case 'hostdir':
      return;
    case 'memory':
      await mountTmpfs(scratch.root);
      if (scratch.tmp === undefined) return;
      await mkdir(scratch.tmp);
      await mountTmpfs(scratch.tmp);
      await chmod(scratch.tmp, 0o1777);
      return;
    case 'hostfile': {
      const image = imageOf(scratch);
      await makeSparseFile(image, volume.imageBytes || DEFAULT_IMAGE_BYTES);
      await command('mkfs.ext4', ['-q', '-F', image], image);
      await command('mount', ['-o', 'loop', image, scratch.root], scratch.root);
    }
  }
}

/**
 * Takes away what any type may have left, of this run or of one that crashed (spec 9.3 R15): mounts and image file,
 * with `/tmp`. The scratch directory itself stays. Idempotent.
 * @throws ScratchMountError when something is still mounted afterwards.
 */
export async function unmountScratch(scratch: ScratchPaths): Promise<void> {
  const tmp = `${scratch.root}_tmp`;
  const mounted = await mountPoints();
  for (const path of [scratch.root, tmp]) {
    // More than one file system may lie on one directory, one for each attempt that crashed.
    const times = mounted.filter((point) => point === path).length;
    for (let round = 0; round < times; round += 1) await unmount(path);
  }
  await rm(imageOf(scratch), { force: true });
  await rm(tmp, { recursive: true, force: true });
}

/** Every place where something is mounted, as often as something is. */
export function parseMountPoints(mountInfo: string): readonly string[] {
  return mountInfo.split('\n').flatMap((line) => {
    const point = line.split(' ')[4];
    if (point === undefined) return [];
    return [point.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)))];
  });
}

const imageOf = ({ root }: ScratchPaths): string => `${root}.img`;

/** Nowhere but on Linux is anything mounted. */
const mountPoints = async (): Promise<readonly string[]> =>
  parseMountPoints(await readFile('/proc/self/mountinfo', 'utf8').catch(() => ''));

const mountTmpfs = (path: string): Promise<void> =>
  command('mount', ['-t', 'tmpfs', '-o', `size=${TMPFS_SIZE}`, 'tmpfs', path], path);

/** A file system that is still in use goes once nobody uses it any more. */
async function unmount(path: string): Promise<void> {
  try {
    await command('umount', [path], path);
  } catch {
    await command('umount', ['--lazy', path], path);
  }
}

/** @throws ScratchMountError when the disk does not keep holes: every kernel would take its whole size at once. */
async function makeSparseFile(path: string, bytes: number): Promise<void> {
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.truncate(bytes);
  } finally {
    await handle.close();
  }
  if ((await stat(path)).blocks > 0)
    throw new ScratchMountError(`${path} is no sparse file: scratch-root must be on a disk that has them`);
}

async function command(program: string, args: readonly string[], path: string): Promise<void> {
  try {
    await run(program, args, { timeout: MOUNT_TIMEOUT_MS });
  } catch (error) {
    throw new ScratchMountError(`${program} for scratch ${path} failed: ${messageOf(error).trim()}`, {
      cause: error,
    });
  }
}
