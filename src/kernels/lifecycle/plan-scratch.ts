import { posix } from 'node:path';
import type { KernelPlan } from '../../backends/backend.js';
import { PermissionError, ValueError } from '../../core/errors.js';
import type { KernelCreationRequest } from '../requests.js';
import { environmentText } from './environment.js';
import type { DeviceNeeds } from './parts.js';

/** Those whose ports the runner must be told. */
const INTRINSIC_SERVICES: ReadonlySet<string> = new Set(['replin', 'replout', 'sshd', 'ttyd']);

/** One file of a scratch directory, as a value; `path` is relative to the scratch root. */
export interface ScratchFile {
  readonly path: string;
  readonly data: string | Uint8Array;
  readonly mode: number;
  /** Of every directory between the file and `config` or `work`; null: 0755, as the rest. */
  readonly directoryMode: number | null;
  /** Belongs to the kernel's user rather than to the agent's, where the agent may give files away. */
  readonly ofKernel: boolean;
}

/**
 * The files that a kernel finds when it starts (spec/kernel-lifecycle.md 2.12, 2.15), in the order of writing: a
 * later one replaces an earlier one of the same path. Pure.
 * @throws PermissionError for a dotfile that would land outside the kernel's home; ValueError for a bad mode.
 */
export function planScratchFiles(
  request: KernelCreationRequest,
  plan: KernelPlan,
  resourceText: string,
  devices: DeviceNeeds['files'] = {},
): readonly ScratchFile[] {
  return [
    ...configFiles(plan, resourceText),
    ...networkFiles(plan),
    ...deviceFiles(devices),
    ...secretFiles(request),
    ...homeFiles(request),
  ];
}

/** Where the kernel's own services listen when no port is translated (spec/kernel-lifecycle.md 2.14). */
function networkFiles(plan: KernelPlan): readonly ScratchFile[] {
  if (plan.network?.mode !== 'host') return [];
  const ports = plan.ports.filter(({ name }) => INTRINSIC_SERVICES.has(name));
  const listed = Object.fromEntries(ports.map(({ name, hostPort }) => [name, hostPort]));
  return [file('config/intrinsic-ports.json', JSON.stringify(listed))];
}

/** @throws ValueError for a name that would lead elsewhere. */
function deviceFiles(devices: DeviceNeeds['files']): readonly ScratchFile[] {
  return Object.entries(devices).flatMap(([device, files]) =>
    Object.entries(files).map(([name, data]) => {
      if (posix.basename(name) !== name || name === '' || name === '..' || name === '.')
        throw new ValueError(`device ${device}: '${name}' is not the name of a file`);
      return file(`config/${device}/${name}`, data);
    }),
  );
}

/** The files that a restart writes anew; everything else in the scratch directory is the user's by then. */
export function configFiles(plan: KernelPlan, resourceText: string): readonly ScratchFile[] {
  const environ = environmentText(plan.environment);
  return [
    file('config/environ.txt', environ),
    file('config/resource.txt', resourceText),
    file('config/environ_base.txt', environ),
    file('config/resource_base.txt', resourceText),
  ];
}

function file(
  path: string,
  data: string,
  options: Partial<Omit<ScratchFile, 'path' | 'data'>> = {},
): ScratchFile {
  return { path, data, mode: 0o644, directoryMode: null, ofKernel: false, ...options };
}

function secretFiles({ config, cluster }: KernelCreationRequest): readonly ScratchFile[] {
  const files: ScratchFile[] = [];
  const { dockerCredentials } = config.internalData;
  if (dockerCredentials)
    files.push(
      file('config/docker-creds.json', JSON.stringify(dockerCredentials), { mode: 0o600, ofKernel: true }),
    );
  files.push(file('config/cluster.json', clusterText(cluster), { mode: 0o600, ofKernel: true }));
  if (cluster.sshKeypair) {
    files.push(
      file('config/ssh/id_cluster', cluster.sshKeypair.privateKey, { mode: 0o600, ofKernel: true }),
      file('config/ssh/id_cluster.pub', cluster.sshKeypair.publicKey, { ofKernel: true }),
    );
    if (cluster.clusterSshPortMapping)
      files.push(file('config/ssh/port-mapping.json', JSON.stringify(cluster.clusterSshPortMapping)));
  }
  return files;
}

/** Everything that the session's kernels know of each other, in the words of the creation request. */
const clusterText = (cluster: KernelCreationRequest['cluster']): string =>
  JSON.stringify({
    mode: cluster.mode,
    size: cluster.size,
    replicas: cluster.replicas,
    network_config: cluster.networkConfig,
    ssh_keypair: cluster.sshKeypair && {
      public_key: cluster.sshKeypair.publicKey,
      private_key: cluster.sshKeypair.privateKey,
    },
    cluster_ssh_port_mapping: cluster.clusterSshPortMapping,
  });

function homeFiles({ config }: KernelCreationRequest): readonly ScratchFile[] {
  const files: ScratchFile[] = [];
  if (config.bootstrapScript !== null && config.bootstrapScript !== '')
    files.push(file('work/bootstrap.sh', config.bootstrapScript, { ofKernel: true }));
  const { sshKeypair, dotfiles } = config.internalData;
  const sshIsMounted = config.mounts.some(
    ({ kernelPath }) => posix.join(kernelPath, '.') === '/home/work/.ssh',
  );
  if (sshKeypair && !sshIsMounted) {
    const secret = { mode: 0o600, ofKernel: true };
    files.push(
      file('work/.ssh/authorized_keys', sshKeypair.publicKey, { ...secret, directoryMode: 0o700 }),
      file('work/.ssh/id_rsa', sshKeypair.privateKey, { ...secret, directoryMode: 0o700 }),
      file('work/id_container', sshKeypair.privateKey, secret),
    );
  }
  for (const { path, data, perm } of dotfiles) {
    const mode = parseMode(path, perm);
    files.push(
      file(dotfilePath(path), data.endsWith('\n') ? data : `${data}\n`, {
        mode,
        // Whoever may read the file must be able to get there.
        directoryMode: mode | ((mode & 0o444) >> 2),
        ofKernel: true,
      }),
    );
  }
  return files;
}

/** `/home/work/a` and `a` are the same file; everything that is not below the kernel's home is refused. */
function dotfilePath(path: string): string {
  const absolute = posix.isAbsolute(path) ? posix.normalize(path) : posix.join('/home/work', path);
  const inside = posix.relative('/home/work', absolute);
  if (inside === '' || inside === '..' || inside.startsWith('../') || path.includes('\0'))
    throw new PermissionError(`dotfile '${path}' is outside /home/work: use a path below it`);
  return posix.join('work', inside);
}

function parseMode(path: string, perm: string): number {
  if (!/^(?:0o)?[0-7]{3,4}$/.test(perm))
    throw new ValueError(`dotfile '${path}': permission '${perm}' is not an octal number such as 644`);
  return Number.parseInt(perm.replace('0o', ''), 8);
}
