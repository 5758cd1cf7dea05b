import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { PlannedMount } from '../backend.js';
import type { ContainerSettings, ResourceLimit } from './container-spec.js';

const CLOCK_FILES = ['/etc/localtime', '/etc/timezone'];
const LXCFS = '/var/lib/lxcfs';
const LXCFS_CPU = ['/sys/devices/system/cpu', '/sys/devices/system/cpu/online'];
const INFINIBAND = '/dev/infiniband';

const statOf = (path: string) => stat(path).catch(() => null);

/** Files of this machine that kernels see, as far as they are there and not empty (spec/kernel-lifecycle.md 2.9). */
export async function findHostMounts(root = '/'): Promise<readonly PlannedMount[]> {
  const mounts: PlannedMount[] = [];
  const lxcfs = join(root, LXCFS);
  for (const path of CLOCK_FILES)
    if (await statOf(join(root, path)))
      mounts.push({ source: join(root, path), target: path, permission: 'ro' });
  for (const name of await readdir(join(lxcfs, 'proc')).catch(() => []))
    if (((await statOf(join(lxcfs, 'proc', name)))?.size ?? 0) > 0)
      mounts.push({ source: join(lxcfs, 'proc', name), target: join('/proc', name), permission: 'rw' });
  for (const path of LXCFS_CPU)
    if (await statOf(join(lxcfs, path)))
      mounts.push({ source: join(lxcfs, path), target: path, permission: 'rw' });
  return mounts;
}

/** For fast networks between machines (spec/kernel-lifecycle.md 2.12). */
export async function findHostDevices(): Promise<readonly string[]> {
  return (await statOf(join(INFINIBAND, 'uverbs0'))) ? [INFINIBAND] : [];
}

const UNLIMITED: ResourceLimit = { soft: null, hard: null };

/** Reads `/proc/<pid>/limits`; what it does not show counts as unlimited. */
export function parseLimits(text: string): ContainerSettings['ownLimits'] {
  const limit = (title: string): ResourceLimit => {
    const [, soft, hard] =
      new RegExp(`^${title}\\s+(\\d+|unlimited)\\s+(\\d+|unlimited)`, 'm').exec(text) ?? [];
    if (soft === undefined || hard === undefined) return UNLIMITED;
    const value = (word: string) => (word === 'unlimited' ? null : Number(word));
    return { soft: value(soft), hard: value(hard) };
  };
  return { nofile: limit('Max open files'), memlock: limit('Max locked memory') };
}

export const findOwnLimits = async (): Promise<ContainerSettings['ownLimits']> =>
  parseLimits(await readFile('/proc/self/limits', 'utf8').catch(() => ''));
