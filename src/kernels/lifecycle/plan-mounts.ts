import { createHash } from 'node:crypto';
import { isAbsolute, join, posix } from 'node:path';
import type { PlannedMount, ScratchPaths } from '../../backends/backend.js';
import { ValueError } from '../../core/errors.js';
import type { KernelCreationConfig, KernelCreationRequest, ResourceSpec } from '../requests.js';
import type { DeviceNeeds, LifecycleSettings } from './parts.js';

const LOG_FOLDER = '.logs';
const INTRINSIC_TARGETS = { config: '/home/config', work: '/home/work' } as const;

/** spec/kernel-lifecycle.md 2.8. */
export function scratchPaths(
  scratchRoot: string,
  kernelId: string,
  type: LifecycleSettings['scratchType'] = 'hostdir',
): ScratchPaths {
  const root = join(scratchRoot, kernelId);
  return {
    root,
    config: join(root, 'config'),
    work: join(root, 'work'),
    ...(type === 'memory' ? { tmp: `${root}_tmp` } : {}),
  };
}

/** Where everything of a kernel lies, also when the agent's scratch root has changed since (spec 9.3 R12). */
export const scratchOf = (
  { settings }: { readonly settings: Pick<LifecycleSettings, 'scratchRoot'> },
  kernel: { readonly id: string; readonly scratchRoot: string | null },
): ScratchPaths => scratchPaths(kernel.scratchRoot ?? settings.scratchRoot, kernel.id);

/** All mounts of the kernel as `resource.txt` and the creation result list them: scratch first, then folders. */
export function specMounts(config: KernelCreationConfig, scratch: ScratchPaths): ResourceSpec['mounts'] {
  return [
    { type: 'bind', source: scratch.config, target: INTRINSIC_TARGETS.config, permission: 'ro' },
    { type: 'bind', source: scratch.work, target: INTRINSIC_TARGETS.work, permission: 'rw' },
    ...(scratch.tmp === undefined
      ? []
      : [{ type: 'bind', source: scratch.tmp, target: '/tmp', permission: 'rw' } as const]),
    ...folderMounts(config).map(
      ({ hostPath, kernelPath, permission }) =>
        ({ type: 'bind', source: hostPath, target: kernelPath, permission }) as const,
    ),
  ];
}

/** The session's folders (spec/kernel-lifecycle.md 2.10). @throws ValueError as `folderMounts`. */
export const planFolders = (config: KernelCreationConfig): readonly PlannedMount[] =>
  folderMounts(config).map(({ hostPath, kernelPath, permission }) => ({
    source: hostPath,
    target: kernelPath,
    permission: permission === 'ro' ? 'ro' : 'rw',
  }));

/** A relay of a socket of this machine into one kernel. */
export interface PlannedRelay {
  /** The socket of this machine; the kernel finds the relay at the same path. */
  readonly socket: string;
  /** The relay's own socket on this machine. */
  readonly path: string;
}

/**
 * Relays of the sockets that the kernel is to reach (spec/kernel-lifecycle.md 2.9). Their names follow from kernel and
 * socket, so that a later run of the daemon finds them.
 * @throws ValueError for a socket without an absolute path.
 */
export function planRelays(
  request: KernelCreationRequest,
  socketDirectory: string | undefined,
): readonly PlannedRelay[] {
  const { domainSocketProxies } = request.config.internalData;
  if (socketDirectory === undefined) return [];
  return [...new Set(domainSocketProxies)].map((socket) => {
    if (!isAbsolute(socket) || socket.includes('\0'))
      throw new ValueError(`domain_socket_proxies: '${socket}' is not an absolute path`);
    const name = createHash('sha256').update(`${request.kernelId}\0${socket}`).digest('hex').slice(0, 24);
    return { socket, path: join(socketDirectory, `${name}.sock`) };
  });
}

/** What a container needs beside the folders: relays, and the devices' hooks and mounts. A hook keeps its path. */
export function containerMounts(
  relays: readonly PlannedRelay[],
  { hooks, mounts }: DeviceNeeds,
): readonly PlannedMount[] {
  return [
    ...relays.map(({ socket, path }): PlannedMount => ({
      source: path,
      behind: socket,
      target: socket,
      permission: 'rw',
    })),
    ...hooks.map((path): PlannedMount => ({ source: path, target: path, permission: 'ro' })),
    ...mounts,
  ];
}

/** `LD_PRELOAD` with the hooks behind what is there; empty without hooks. @throws ValueError for a relative path. */
export function hookEnvironment(
  hooks: readonly string[],
  preloaded: string | undefined,
): Readonly<Record<string, string>> {
  const relative = hooks.find((path) => !isAbsolute(path));
  if (relative !== undefined) throw new ValueError(`hook '${relative}' of a device is not an absolute path`);
  const all = [...(preloaded ?? '').split(':').filter((path) => path !== ''), ...hooks];
  return hooks.length === 0 ? {} : { LD_PRELOAD: [...new Set(all)].join(':') };
}

/** A target that something else occupies is an error here, not the engine's (9.1 C17). */
function folderMounts(config: KernelCreationConfig): KernelCreationConfig['mounts'] {
  const folders = config.internalData.preventVfolderMounts
    ? config.mounts.filter(({ name }) => name === LOG_FOLDER)
    : config.mounts;
  const targets = new Set<string>(Object.values(INTRINSIC_TARGETS));
  for (const { name, hostPath, kernelPath } of folders) {
    if (!isAbsolute(hostPath))
      throw new ValueError(
        `folder '${name}': Mount source must be an absolute path if it is not a volume name.`,
      );
    if (!posix.isAbsolute(kernelPath))
      throw new ValueError(`folder '${name}': Mount target must be an absolute path.`);
    const target = posix.join(kernelPath).replace(/(?<=.)\/+$/, '');
    if (target === '/' || targets.has(target))
      throw new ValueError(`folder '${name}': the mount target ${target} is already in use by another mount`);
    targets.add(target);
  }
  return folders;
}
