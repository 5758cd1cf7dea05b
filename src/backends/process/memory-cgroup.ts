import { randomBytes } from 'node:crypto';
import { access, constants, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { systemClock } from '../../core/clock.js';
import { hasCode, messageOf } from '../../core/errors.js';

/** A directory below which this process may make memory cgroups, version 1 or 2. */
export interface CgroupBase {
  readonly version: 1 | 2;
  readonly directory: string;
}

export type CgroupSearch =
  { readonly base: CgroupBase; readonly why?: never } | { readonly base: null; readonly why: string };

/** Lines of `/proc/self/cgroup`: `id:controllers:path`. Version 2 has id 0 and no controllers. */
export function ownCgroup(text: string, version: 1 | 2): string | null {
  for (const line of text.split('\n')) {
    const [, id, controllers, path] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? [];
    if (path === undefined || controllers === undefined) continue;
    if (version === 2 ? id === '0' && controllers === '' : controllers.split(',').includes('memory'))
      return path;
  }
  return null;
}

/** Mount points in `/proc/self/mountinfo`; the root is what of the hierarchy is visible there. */
export function cgroupMount(
  mountinfo: string,
  version: 1 | 2,
): { readonly root: string; readonly mountPoint: string } | null {
  for (const line of mountinfo.split('\n')) {
    const [left, right] = line.split(' - ');
    const [, , , root, mountPoint] = (left ?? '').split(' ');
    const [type, , options] = (right ?? '').split(' ');
    if (root === undefined || mountPoint === undefined) continue;
    if (
      version === 2 ? type === 'cgroup2' : type === 'cgroup' && (options ?? '').split(',').includes('memory')
    )
      return { root, mountPoint };
  }
  return null;
}

/**
 * Version 2 forbids processes and children with limits in one cgroup, so the kernels' cgroups go beside the daemon's
 * own when that is a subgroup of its systemd unit (`Delegate=yes`, `DelegateSubgroup=`), else below it.
 */
export function baseFor(ownDirectory: string, version: 1 | 2): string {
  if (version === 1) return ownDirectory;
  const isUnit = (path: string) => /\.(service|scope)$/.test(basename(path));
  return !isUnit(ownDirectory) && isUnit(dirname(ownDirectory)) ? dirname(ownDirectory) : ownDirectory;
}

/** Looks for a place for the kernels' cgroups and tries it out. */
export async function findCgroupBase(configured: string | null): Promise<CgroupSearch> {
  const reasons: string[] = [];
  for (const version of [2, 1] as const) {
    try {
      const directory = configured ?? (await detect(version));
      if (directory === null) continue;
      const base = { version, directory };
      if (version === 2) await delegateMemory(directory);
      const probe = await createCgroup(base, `splenium-probe-${randomBytes(6).toString('hex')}`, 1 << 30);
      await removeCgroup(probe);
      return { base };
    } catch (error) {
      reasons.push(`cgroup v${String(version)}: ${messageOf(error)}`);
    }
  }
  return { base: null, why: reasons.join('; ') || 'no memory cgroup controller is mounted' };
}

async function detect(version: 1 | 2): Promise<string | null> {
  const own = ownCgroup(await readFile('/proc/self/cgroup', 'utf8'), version);
  const mount = cgroupMount(await readFile('/proc/self/mountinfo', 'utf8'), version);
  if (own === null || mount === null) return null;
  const visible =
    mount.root !== '/' && own.startsWith(mount.root)
      ? own.slice(mount.root.length)
      : mount.root === '/'
        ? own
        : '/';
  return baseFor(join(mount.mountPoint, visible), version);
}

async function delegateMemory(directory: string): Promise<void> {
  const file = join(directory, 'cgroup.subtree_control');
  if (!(await readFile(file, 'utf8')).split(/\s/).includes('memory')) await writeFile(file, '+memory');
}

/** @returns the new cgroup's directory. A failure leaves nothing. */
export async function createCgroup(base: CgroupBase, name: string, memoryBytes: number): Promise<string> {
  const directory = join(base.directory, name);
  try {
    await mkdir(directory);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
  const [limit, swap] =
    base.version === 2
      ? ['memory.max', 'memory.swap.max']
      : ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes'];
  try {
    // A file that is missing here must not be made by accident in a plain directory.
    await access(join(directory, limit), constants.W_OK);
    if (memoryBytes > 0) {
      await writeFile(join(directory, limit), String(memoryBytes));
      // Not every machine accounts swap.
      await writeFile(join(directory, swap), base.version === 2 ? '0' : String(memoryBytes), {
        flag: 'r+',
      }).catch(() => undefined);
    }
    return directory;
  } catch (error) {
    await rmdir(directory).catch(() => undefined);
    throw error;
  }
}

export async function joinCgroup(directory: string, pid: number): Promise<void> {
  await writeFile(join(directory, 'cgroup.procs'), String(pid));
}

/** Empty when the cgroup is gone. */
export async function cgroupPids(directory: string): Promise<readonly number[]> {
  try {
    const text = await readFile(join(directory, 'cgroup.procs'), 'utf8');
    return text.split('\n').map(Number).filter(Boolean);
  } catch {
    return [];
  }
}

/** How many processes of the cgroup the system has killed for lack of memory; 0 when it is gone. */
export async function oomKills(directory: string): Promise<number> {
  for (const file of ['memory.events', 'memory.oom_control'])
    try {
      const text = await readFile(join(directory, file), 'utf8');
      return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
    } catch {
      // The other version's file.
    }
  return 0;
}

/** Removes an empty cgroup; a missing one is fine. The system needs a moment after the last process has died. */
export async function removeCgroup(directory: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1)
    try {
      await rmdir(directory);
      return;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return;
      if (!hasCode(error, 'EBUSY') || attempt === 50) throw error;
      await systemClock.sleep(20);
    }
}
