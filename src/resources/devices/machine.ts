import { readdir, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { RuntimeError } from '../../core/errors.js';
import { parseCpuset } from './cpuset.js';

/** Where the Linux kernel tells about the machine; tests point it at recorded trees. */
export interface MachineRoots {
  /** Default `/proc`. */
  readonly proc?: string;
  /** Default `/sys`. */
  readonly sys?: string;
}

/** Files that some other cgroup's core set is in, version 2 and 1, by cgroup driver (spec 6.3). */
export const DOCKER_CPUSET_FILES: readonly string[] = [
  'fs/cgroup/docker/cpuset.cpus.effective',
  'fs/cgroup/system.slice/cpuset.cpus.effective',
  'fs/cgroup/cpuset/docker/cpuset.effective_cpus',
  'fs/cgroup/cpuset/system.slice/cpuset.effective_cpus',
];

/**
 * Cores that kernels can run on: those this process may use, which takes in its cgroup's core set, and of those what
 * the container engine's own cgroup may use, if it has one.
 */
export async function usableCores(
  roots: MachineRoots,
  otherCpusetFiles: readonly string[] = [],
): Promise<readonly number[]> {
  const status = await readIfThere(join(roots.proc ?? '/proc', 'self/status'));
  const allowed = /^Cpus_allowed_list:\s*(\S+)/m.exec(status ?? '')?.[1];
  let cores =
    allowed === undefined
      ? Array.from({ length: availableParallelism() }, (_, core) => core)
      : parseCpuset(allowed);
  const online = await readIfThere(join(roots.sys ?? '/sys', 'devices/system/cpu/online'));
  const limits = [online];
  for (const file of otherCpusetFiles) limits.push(await readIfThere(join(roots.sys ?? '/sys', file)));
  for (const limit of limits) {
    if (limit === undefined || limit.trim() === '') continue;
    const within = new Set(parseCpuset(limit));
    const both = cores.filter((core) => within.has(core));
    // Disjoint sets tell of a mounted foreign tree rather than of a machine without cores.
    if (both.length > 0) cores = both;
  }
  return cores;
}

/** Core -> NUMA node; a machine that does not tell has the one node 0. */
export async function numaNodes(roots: MachineRoots): Promise<ReadonlyMap<number, number>> {
  const base = join(roots.sys ?? '/sys', 'devices/system/node');
  const nodes = new Map<number, number>();
  for (const entry of await listIfThere(base)) {
    const node = /^node(\d+)$/.exec(entry)?.[1];
    if (node === undefined) continue;
    const list = (await readIfThere(join(base, entry, 'cpulist')))?.trim() ?? '';
    // A node without cores has memory only.
    if (list !== '') for (const core of parseCpuset(list)) nodes.set(core, Number(node));
  }
  return nodes;
}

/** NUMA node of a PCI device; null when the machine does not tell. */
export async function pciNumaNode(roots: MachineRoots, address: string): Promise<number | null> {
  const path = join(roots.sys ?? '/sys', 'bus/pci/devices', pciAddress(address), 'numa_node');
  const text = (await readIfThere(path))?.trim() ?? '';
  return /^-?\d+$/.test(text) ? Number(text) : null;
}

/** The driver writes an eight-digit domain and capitals, the kernel four digits and small letters. */
const pciAddress = (address: string): string => address.toLowerCase().replace(/^0{4}(?=[0-9a-f]{4}:)/, '');

/**
 * Memory of the machine, or of the control group this process is in, when that may use less.
 * @throws RuntimeError when the machine does not tell.
 */
export async function usableMemoryBytes(roots: MachineRoots, ownCgroup: boolean): Promise<bigint> {
  const info = await readIfThere(join(roots.proc ?? '/proc', 'meminfo'));
  const kibibytes = /^MemTotal:\s*(\d+) kB/m.exec(info ?? '')?.[1];
  if (kibibytes === undefined) throw new RuntimeError('cannot read the memory size from /proc/meminfo');
  let bytes = BigInt(kibibytes) * 1024n;
  if (ownCgroup) for (const limit of await cgroupMemoryLimits(roots)) if (limit < bytes) bytes = limit;
  return bytes;
}

/** Memory that no process uses, by the kernel's own estimate. */
export async function availableMemoryBytes(roots: MachineRoots): Promise<bigint | undefined> {
  const info = await readIfThere(join(roots.proc ?? '/proc', 'meminfo'));
  const kibibytes = /^MemAvailable:\s*(\d+) kB/m.exec(info ?? '')?.[1];
  return kibibytes === undefined ? undefined : BigInt(kibibytes) * 1024n;
}

/** Limits of our own control group and of those above it. */
async function cgroupMemoryLimits(roots: MachineRoots): Promise<readonly bigint[]> {
  const own = await readIfThere(join(roots.proc ?? '/proc', 'self/cgroup'));
  const version2 = /^0::(\/.*)$/m.exec(own ?? '')?.[1];
  const version1 = /^\d+:memory:(\/.*)$/m.exec(own ?? '')?.[1];
  const base = join(roots.sys ?? '/sys', 'fs/cgroup');
  const files = [
    ...pathsUpwards(version2).map((path) => join(base, path, 'memory.max')),
    ...pathsUpwards(version1).map((path) => join(base, 'memory', path, 'memory.limit_in_bytes')),
  ];
  const limits: bigint[] = [];
  for (const file of files) {
    const text = (await readIfThere(file))?.trim() ?? '';
    if (/^\d+$/.test(text)) limits.push(BigInt(text));
  }
  return limits;
}

function pathsUpwards(path: string | undefined): readonly string[] {
  if (path === undefined) return [];
  const parts = path.split('/').filter((part) => part !== '' && part !== '..');
  return Array.from({ length: parts.length + 1 }, (_, index) =>
    parts.slice(0, parts.length - index).join('/'),
  );
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
}

async function listIfThere(path: string): Promise<readonly string[]> {
  try {
    return (await readdir(path)).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  } catch {
    return [];
  }
}
