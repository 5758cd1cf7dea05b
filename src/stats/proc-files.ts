/** What `/proc` counts time in: USER_HZ is 100 on every Linux. */
const MS_PER_TICK = 10;
const COUNT = /^\d+$/;

/** Time of each logical CPU in user and system mode, from `/proc/stat`. Index -> milliseconds. */
export function parseCpuTimes(text: string): ReadonlyMap<string, number> {
  const times = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [, index, user, system] = /^cpu(\d+) (\d+) \d+ (\d+)/.exec(line) ?? [];
    if (index !== undefined) times.set(index, (Number(user) + Number(system)) * MS_PER_TICK);
  }
  return times;
}

export interface Traffic {
  readonly receivedBytes: bigint;
  readonly sentBytes: bigint;
}

/** Sum over the interfaces of `/proc/net/dev` that count; default: all. */
export function parseTraffic(text: string, counts: (name: string) => boolean = () => true): Traffic {
  let receivedBytes = 0n;
  let sentBytes = 0n;
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon < 0 || !counts(line.slice(0, colon).trim())) continue;
    const fields = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/);
    const [received, sent] = [fields[0], fields[8]];
    if (received === undefined || sent === undefined) continue;
    if (!COUNT.test(received) || !COUNT.test(sent)) continue;
    receivedBytes += BigInt(received);
    sentBytes += BigInt(sent);
  }
  return { receivedBytes, sentBytes };
}

export interface Mount {
  readonly device: string;
  readonly mountPoint: string;
  readonly type: string;
}

const SKIPPED_TYPES: ReadonlySet<string> = new Set(['vfat', 'lxcfs', 'squashfs', 'tmpfs', 'iso9660']);
const isSkippedPlace = (path: string): boolean =>
  path.startsWith('/proc/docker/runtime-runc/moby/') || path === '/var/lib/docker/btrfs';

/**
 * Mounted real filesystems: those whose type needs a block device, each device once (spec/events-and-stores.md 5.3).
 * `filesystems` is the text of `/proc/filesystems`, `mounts` that of `/proc/mounts`.
 */
export function parseRealMounts(mounts: string, filesystems: string): readonly Mount[] {
  const types = new Set(['zfs']);
  for (const line of filesystems.split('\n')) {
    const [flag = '', type = ''] = line.split('\t');
    if (flag !== 'nodev' && type !== '') types.add(type);
  }
  const found = new Map<string, Mount>();
  for (const line of mounts.split('\n')) {
    const [device = '', mountPoint = '', type = ''] = line.split(' ').map(unescapeOctal);
    if (device === '' || device === 'none' || !types.has(type) || SKIPPED_TYPES.has(type)) continue;
    if (isSkippedPlace(mountPoint) || found.has(device)) continue;
    found.set(device, { device, mountPoint, type });
  }
  return [...found.values()];
}

/** Spaces and the like are written as `\040`. */
const unescapeOctal = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

/**
 * CPU time of one process from `/proc/<pid>/stat`, that of its ended and awaited children included, in milliseconds.
 * The command name may hold anything, so the fields start after the last `)`.
 */
export function parseProcessCpuMs(text: string): number | null {
  const nameEnd = text.lastIndexOf(')');
  if (nameEnd < 0) return null;
  const fields = text.slice(nameEnd + 2).split(' ');
  const ticks = [fields[11], fields[12], fields[13], fields[14]].map(Number);
  return ticks.every(Number.isFinite) ? ticks.reduce((sum, one) => sum + one, 0) * MS_PER_TICK : null;
}

/** `VmRSS` of `/proc/<pid>/status`, which knows the page size; a process without memory has none. */
export function parseResidentBytes(text: string): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}

/** `NAME value` or `NAME: value`, one a line, as in `memory.stat`, `cpu.stat` and `/proc/<pid>/io`. */
export function parseField(text: string, name: string): number | null {
  for (const line of text.split('\n')) {
    const [key, value] = line.split(/:?\s+/);
    if (key === name && value !== undefined && /^\d+$/.test(value)) return Number(value);
  }
  return null;
}
