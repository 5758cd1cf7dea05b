import type { KernelPlan, PlannedMount, RunnerEndpoints } from '../backend.js';
import { HOME } from '../files/work-tree.js';
import type { Launch, MountLink, ProcessState } from './note.js';

/** The variable that tells a kernel's processes from all others. */
export const MARK_VARIABLE = 'SPLENIUM_CONTAINER';

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Programs that a launch may go through; null when the machine lacks one. */
export interface LaunchTools {
  readonly node: string;
  readonly runner: string;
  readonly shell: string;
  readonly taskset: string | null;
  readonly setpriv: string | null;
}

export const endpointsOf = (sockets: string): RunnerEndpoints => ({
  replIn: `ipc://${sockets}/in`,
  replOut: `ipc://${sockets}/out`,
});

export const launchOf = (plan: KernelPlan): Launch => ({
  runtimeType: plan.runtimeType,
  runtimePath: plan.runtimePath,
  environment: { ...plan.environment },
  config: plan.scratch.config,
  cpuCores: [...plan.limits.cpuCores],
  memoryBytes: plan.limits.memoryBytes,
  supplementaryGids: [...plan.identity.supplementaryGids],
});

/** `NAME=value`, as it stands in the environment of every process of the kernel. */
export const markOf = (state: ProcessState): string => `${MARK_VARIABLE}=${state.mark}`;

/** The plan's environment and what only this backend knows: where home really is, and whose the process is. */
export function environmentOf(launch: Launch, state: ProcessState): Record<string, string> {
  const planned = launch.environment;
  return {
    PATH: DEFAULT_PATH,
    ...planned,
    HOME: planned['HOME'] === undefined || planned['HOME'] === HOME ? state.work : planned['HOME'],
    [MARK_VARIABLE]: state.mark,
  };
}

/**
 * The runner's command line, without what keeps it. An identity is given only to kernels of a daemon that runs as
 * root; `setpriv` must then be there.
 */
export function runnerCommand(launch: Launch, state: ProcessState, tools: LaunchTools): readonly string[] {
  const { replIn, replOut } = endpointsOf(state.sockets);
  const identity =
    state.uid === null || tools.setpriv === null
      ? []
      : [
          tools.setpriv,
          `--reuid=${String(state.uid)}`,
          `--regid=${String(state.gid ?? state.uid)}`,
          launch.supplementaryGids.length > 0
            ? `--groups=${launch.supplementaryGids.join(',')}`
            : '--clear-groups',
          '--',
        ];
  return [
    ...identity,
    tools.node,
    tools.runner,
    ...['--repl-in', replIn, '--repl-out', replOut],
    ...['--runtime', launch.runtimeType],
    ...(launch.runtimePath === null ? [] : ['--runtime-path', launch.runtimePath]),
    ...['--work', state.work, '--config', launch.config],
  ];
}

/** What goes in front of the keeper so that all of the kernel stays on its cores. */
export const affinityCommand = (launch: Launch, tools: LaunchTools): readonly string[] =>
  tools.taskset === null || launch.cpuCores.length === 0
    ? []
    : [tools.taskset, '--cpu-list', launch.cpuCores.join(',')];

/**
 * Without a mount namespace only folders below the home directory can be shown where the plan wants them, as links.
 * The home and config directories themselves need none.
 */
export function mountLinks(mounts: readonly PlannedMount[]): {
  readonly links: MountLink[];
  readonly impossible: readonly PlannedMount[];
} {
  const links: MountLink[] = [];
  const impossible: PlannedMount[] = [];
  for (const mount of mounts) {
    const target = mount.target.replace(/\/+$/, '');
    if (target === HOME || target === '/home/config') continue;
    const at = target.startsWith(`${HOME}/`) ? target.slice(HOME.length + 1) : '';
    // A folder inside another one would need a link in the user's own data.
    const isInner = mounts.some(
      (other) =>
        other !== mount && other.target !== HOME && at !== '' && target.startsWith(`${other.target}/`),
    );
    if (isInner || at.split('/').some((part) => part === '' || part === '.' || part === '..'))
      impossible.push(mount);
    else links.push({ at, source: mount.source, permission: mount.permission });
  }
  return { links, impossible };
}
