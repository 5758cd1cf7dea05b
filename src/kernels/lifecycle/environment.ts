import { ValueError } from '../../core/errors.js';
import type { KernelCreationRequest } from '../requests.js';
import { planFolders } from './plan-mounts.js';

export const FEATURES_LABEL = 'ai.backend.features';
export const CORE_COUNT_LABEL = 'ai.backend.envs.corecount';

/** Whom the kernel's processes belong to (spec/kernel-lifecycle.md 2.4). */
export interface KernelIdentity {
  readonly uid: number | null;
  readonly gid: number | null;
  readonly supplementaryGids: readonly number[];
}

/**
 * `own`: the agent's configured kernel uid and gid, already resolved to numbers where the machine has any.
 * `deviceGids`: groups that may open the allocated devices.
 */
export function planIdentity(
  request: KernelCreationRequest,
  own: { readonly uid: number | null; readonly gid: number | null },
  deviceGids: readonly number[] = [],
): KernelIdentity {
  const { config } = request;
  const features = (config.image.labels[FEATURES_LABEL] ?? 'uid-match').split(/\s+/);
  const matched = features.includes('uid-match');
  const gids = new Set([...config.supplementaryGids, ...deviceGids]);
  if (config.mainGid !== null && matched && own.gid !== null) gids.add(own.gid);
  return {
    uid: config.uid ?? (matched ? own.uid : null),
    gid: config.mainGid ?? (matched ? own.gid : null),
    supplementaryGids: [...gids],
  };
}

/**
 * The kernel's environment (spec/kernel-lifecycle.md 2.4, 2.12): what the manager sent, then identity, core counts
 * and devices. Names that the runner cannot do without are there in any case.
 * @throws ValueError for a name or value that no process environment can hold.
 */
export function planEnvironment(
  request: KernelCreationRequest,
  facts: {
    readonly identity: KernelIdentity;
    readonly cpuCores: number;
    readonly devices: Readonly<Record<string, string>>;
  },
): Readonly<Record<string, string>> {
  const { config, cluster } = request;
  const environment: Record<string, string> = {
    BACKENDAI_KERNEL_ID: request.kernelId,
    BACKENDAI_CLUSTER_REPLICAS: Object.entries(cluster.replicas)
      .map(([role, count]) => `${role}:${String(count)}`)
      .join(','),
    ...config.environ,
  };
  const { uid, gid, supplementaryGids } = facts.identity;
  if (uid !== null) environment['LOCAL_USER_ID'] = String(uid);
  if (gid !== null) environment['LOCAL_GROUP_ID'] = String(gid);
  const gids = new Set([
    ...(config.environ['ADDITIONAL_GIDS'] ?? '').split(',').filter((text) => text !== ''),
    ...supplementaryGids.map(String),
  ]);
  if (gids.size > 0) environment['ADDITIONAL_GIDS'] = [...gids].join(',');
  for (const name of (config.image.labels[CORE_COUNT_LABEL] ?? '').split(',').map((text) => text.trim()))
    if (name !== '') environment[name] ??= String(facts.cpuCores);
  environment['GPU_COUNT'] = '0';
  environment['N_GPUS'] = '0';
  Object.assign(environment, facts.devices);
  // Of those that are really mounted.
  const folders = planFolders(config).map(({ target }) => target);
  if (folders.length > 0) environment['BACKENDAI_PERSISTENT_PATHS'] = folders.join(':');
  checkEnvironment(environment);
  return environment;
}

/**
 * The content of `environ.txt`, one `KEY=VALUE` a line. The runner's parser gives up at a line without `=`, so line
 * breaks inside a value are left out of this file (spec/kernel-lifecycle.md 2.15); the process environment has them.
 */
export function environmentText(environment: Readonly<Record<string, string>>): string {
  return Object.entries(environment)
    .map(([name, value]) => `${name}=${value.replace(/[\r\n]+/g, '')}\n`)
    .join('');
}

function checkEnvironment(environment: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(environment)) {
    if (name === '' || /[=\0\r\n]/.test(name))
      throw new ValueError(
        `environment variable name ${JSON.stringify(name)} is empty or holds '=' or a line break`,
      );
    if (value.includes('\0')) throw new ValueError(`environment variable ${name} holds a NUL character`);
  }
}
