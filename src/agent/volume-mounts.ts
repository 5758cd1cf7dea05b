import { execFile } from 'node:child_process';
import { lstat, mkdir, readFile, realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { hasCode, RuntimeError, ValueError } from '../core/errors.js';
import type { VolumeRequest } from '../events/volume-requests.js';
import { editFstab, withEntry, withoutEntry } from './fstab.js';

type MountRequest = Extract<VolumeRequest, { readonly name: 'do_volume_mount' }>;
type UnmountRequest = Extract<VolumeRequest, { readonly name: 'do_volume_unmount' }>;

/** Longest time for `mount`: a file server that is away must not hold the next request for good. */
const MOUNT_TIMEOUT_MS = 60_000;
const MAX_OUTPUT_BYTES = 64 * 1024;

/**
 * Mounts and unmounts volumes below one directory, as root (spec/events-and-stores.md 3.8). Arguments reach the tools
 * as they are, never through a shell, and a directory that leads out of the root is refused.
 */
export class VolumeMounts {
  readonly #root: string;
  readonly #owner: string | null;

  /** `owner`: `uid:gid` of what is mounted, as `chown` takes it; null: as the file system has it. */
  constructor(options: { readonly root: string; readonly owner: string | null }) {
    this.#root = options.root;
    this.#owner = options.owner;
  }

  /** Where a directory is mounted. @throws ValueError for one that is not below the root. */
  pathOf(directory: string): string {
    const isBelow =
      directory !== '' &&
      !isAbsolute(directory) &&
      !directory.includes('\0') &&
      directory.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
    if (!isBelow)
      throw new ValueError(`'${directory.slice(0, 200)}' is no directory below the root of volume mounts`);
    return join(this.#root, directory);
  }

  /**
   * Idempotent: what is mounted already stays as it is.
   * @throws ValueError for what is refused, RuntimeError with what `mount` said.
   */
  async mount(request: MountRequest): Promise<void> {
    const path = this.pathOf(request.directory);
    checkMountArguments(request);
    await this.#refuseLinks(path);
    if (await isMountPoint(path)) return;
    await mkdir(path).catch((error: unknown) => {
      if (!hasCode(error, 'EEXIST')) throw error;
    });
    const { fsType, options, location, fstab } = request;
    const optionArguments = options === null || options === '' ? [] : ['-o', options];
    await run('mount', ['-t', fsType, ...optionArguments, '--', location, path], MOUNT_TIMEOUT_MS);
    if (this.#owner !== null) await run('chown', ['--', this.#owner, path], MOUNT_TIMEOUT_MS);
    if (fstab)
      await editFstab(fstab.path, (text) =>
        withEntry(text, { device: location, mountPoint: path, fsType, options }),
      );
  }

  /**
   * Idempotent. `timeoutMs`: of the tool; one that hangs on a dead file server cannot be killed.
   * @throws as `mount`.
   */
  async unmount({ directory, fstab }: UnmountRequest, timeoutMs: number): Promise<void> {
    const path = this.pathOf(directory);
    await this.#refuseLinks(path);
    if (await isMountPoint(path)) await run('umount', ['--', path], timeoutMs);
    if (fstab) await editFstab(fstab.path, (text) => withoutEntry(text, path));
  }

  /** A link on the way would lead the mount elsewhere. */
  async #refuseLinks(path: string): Promise<void> {
    const parent = dirname(path);
    const expected = join(await realpath(this.#root), parent.slice(this.#root.length)).replace(/\/$/, '');
    const isDirect = (await realpath(parent)) === expected;
    const link = await lstat(path).then(
      (found) => found.isSymbolicLink(),
      (error: unknown) => {
        if (hasCode(error, 'ENOENT')) return false;
        throw error;
      },
    );
    if (!isDirect || link) throw new ValueError(`${path} leads through a symbolic link`);
  }
}

/** Values that the tool could take for something else. */
function checkMountArguments({ fsType, location, options }: MountRequest): void {
  if (!/^[A-Za-z0-9][\w.-]{0,63}$/.test(fsType)) throw new ValueError(`'${fsType}' is no file system type`);
  for (const value of [location, options ?? ''])
    // A line break would become a line of fstab.
    if (/[\x00-\x1f]/.test(value)) throw new ValueError('the source and the options of a mount are one line');
  if (location === '') throw new ValueError('a mount needs a source');
}

/** By the list of the kernel, which also knows directories that are mounted elsewhere once more. */
async function isMountPoint(path: string): Promise<boolean> {
  const place = join(await realpath(dirname(path)), basename(path));
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  return mounts.split('\n').some((line) => unescaped(line.split(' ')[4] ?? '') === place);
}

const unescaped = (field: string): string =>
  field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));

function run(command: string, args: readonly string[], timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(
      command,
      [...args],
      {
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
        maxBuffer: MAX_OUTPUT_BYTES,
        env: { LC_ALL: 'C', PATH: TOOL_PATH },
      },
      (error, _stdout, stderr) => {
        if (!error) {
          resolve();
          return;
        }
        const said = stderr.trim();
        const why =
          error.killed === true ? `no result within ${String(timeoutMs)} ms` : said || error.message;
        reject(new RuntimeError(`${command} failed: ${why}`, { cause: error }));
      },
    );
  });
}

const TOOL_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
