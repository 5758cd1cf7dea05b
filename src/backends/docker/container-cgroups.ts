/** One mounted hierarchy; `root` is what of it is visible at the mount point. */
export interface CgroupMount {
  /** Controllers of version 1; null: version 2, which has them all. */
  readonly controllers: readonly string[] | null;
  readonly root: string;
  readonly mountPoint: string;
}

/** Those whose counters are read; version 1 has a hierarchy for each. */
const MEASURED = ['memory', 'cpuacct', 'blkio', 'cpu'];

/** Reads `/proc/self/mountinfo`. Pure. */
export function parseCgroupMounts(mountinfo: string): readonly CgroupMount[] {
  return mountinfo.split('\n').flatMap((line): CgroupMount[] => {
    const [left = '', right = ''] = line.split(' - ');
    const [, , , root, mountPoint] = left.split(' ');
    const [type, , options = ''] = right.split(' ');
    if (root === undefined || mountPoint === undefined) return [];
    if (type === 'cgroup2') return [{ controllers: null, root, mountPoint }];
    return type === 'cgroup' ? [{ controllers: options.split(','), root, mountPoint }] : [];
  });
}

/**
 * Directories of a container's own cgroups, from `/proc/<pid>/cgroup` of one of its processes. Both drivers name them
 * after the container's id, `<id>` or `docker-<id>.scope`, below whatever parent the engine has. What does not carry
 * the id is somebody else's, in the worst case the whole machine's, and is left out; so is what cannot be seen from
 * here. Pure.
 */
export function containerCgroups(
  text: string,
  mounts: readonly CgroupMount[],
  containerId: string,
): readonly string[] {
  const found = new Set<string>();
  for (const line of text.split('\n')) {
    const [, hierarchy, names, path] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (hierarchy === undefined || names === undefined || path === undefined) continue;
    const own = ownPart(path, containerId);
    if (own === null) continue;
    const controllers = hierarchy === '0' && names === '' ? null : names.split(',');
    if (controllers !== null && !controllers.some((name) => MEASURED.includes(name))) continue;
    for (const mount of mounts) {
      const isSame =
        controllers === null
          ? mount.controllers === null
          : controllers.some((name) => mount.controllers?.includes(name));
      const below = isSame ? visiblePart(own, mount.root) : null;
      if (below !== null) found.add(`${mount.mountPoint}${below}`);
    }
  }
  return [...found];
}

/** Up to the part that carries the id: an init system inside may have put its processes further down. */
function ownPart(path: string, containerId: string): string | null {
  const parts = path.split('/');
  if (containerId === '' || parts.includes('..')) return null;
  const at = parts.findIndex((part) => part === containerId || part.endsWith(`-${containerId}.scope`));
  return at < 1 ? null : parts.slice(0, at + 1).join('/');
}

/** Null: the mount does not show it. */
function visiblePart(path: string, root: string): string | null {
  if (root === '/') return path;
  return path.startsWith(`${root}/`) ? path.slice(root.length) : null;
}
