import type { KernelPlan, PlannedMount } from '../backend.js';
import { HOME } from '../files/work-tree.js';
import { REPL_IN_PORT, REPL_OUT_PORT } from './kernel-labels.js';

/**
 * Where our runner volume is in every kernel. Not at the original's place, `/opt/kernel`: a volume that is read-only
 * takes no mounts inside of it, and there are the agent's socket, hooks and helper programs.
 */
export const RUNNER_HOME = '/opt/splenium';
export const CONFIG_HOME = '/home/config';
/** The original's place for programs of its services. */
const HELPERS_HOME = '/opt/kernel';
const LOOPBACK = '127.0.0.1';
/** Of kernels that nobody has given an owner (spec/kernel-runner.md 5.3). */
const DEFAULT_ID = 9001;

/** The part of a container that makes it a kernel: what starts in it, as whom, and where that comes from. */
export interface RunnerStart {
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  /** `uid:gid` */
  readonly user: string;
  /** Groups of the engine's start; where root starts, the entry point sets them. */
  readonly groups: readonly number[];
  /** Beyond the plan's. */
  readonly environment: Readonly<Record<string, string>>;
  readonly mounts: readonly PlannedMount[];
  /** What it needs of the engine besides, in its words. Absent: nothing. */
  readonly hostConfig?: Readonly<Record<string, unknown>>;
}

/** A runner volume of ours, and programs for its services. */
export interface OwnRunner {
  /** Of this machine, with the bundled loader `loader` in it. */
  readonly directory: string;
  readonly loader: string;
  /** Programs that the operator offers: an SSH server, a terminal for browsers. Absent: none. */
  readonly helpers?: readonly PlannedMount[];
}

/** Whom the kernel belongs to: the plan says it, as a rule in its environment, too. */
export function ownerOf({ identity, environment }: KernelPlan): {
  readonly uid: number;
  readonly gid: number;
} {
  const id = (planned: number | null, variable: string): number => {
    const text = environment[variable] ?? '';
    return planned ?? (/^\d+$/.test(text) ? Number(text) : DEFAULT_ID);
  };
  return { uid: id(identity.uid, 'LOCAL_USER_ID'), gid: id(identity.gid, 'LOCAL_GROUP_ID') };
}

/**
 * Our runner. As a rule root starts it and its entry point becomes the user; a kernel that may not change users is
 * started as the user, who then has no name unless the image knows one.
 */
export function ownRunnerStart(
  plan: KernelPlan,
  runner: OwnRunner,
  options: { readonly isUserFixed: boolean },
): RunnerStart {
  const { uid, gid } = ownerOf(plan);
  const gids = plan.identity.supplementaryGids;
  return {
    entrypoint: [
      `${RUNNER_HOME}/${runner.loader}`,
      ...['--library-path', `${RUNNER_HOME}/lib`],
      `${RUNNER_HOME}/node`,
      ...['--import', `${RUNNER_HOME}/exec-path.mjs`],
      `${RUNNER_HOME}/entrypoint.mjs`,
      ...(plan.isSudoEnabled ? ['--sudo'] : []),
      `${RUNNER_HOME}/kernel-runner.mjs`,
    ],
    command: runnerArguments(plan),
    user: options.isUserFixed ? `${String(uid)}:${String(gid)}` : '0:0',
    groups: options.isUserFixed ? gids : [],
    environment: identityVariables(plan),
    mounts: [{ source: runner.directory, target: RUNNER_HOME, permission: 'ro' }, ...(runner.helpers ?? [])],
  };
}

/** What the entry point is told; a variable of the plan wins, as the kernel sees that one. */
export function identityVariables(plan: KernelPlan): Readonly<Record<string, string>> {
  const { environment, identity } = plan;
  const { uid, gid } = ownerOf(plan);
  const all = {
    LOCAL_USER_ID: String(uid),
    LOCAL_GROUP_ID: String(gid),
    ...(identity.supplementaryGids.length > 0
      ? { ADDITIONAL_GIDS: identity.supplementaryGids.join(',') }
      : {}),
  };
  return Object.fromEntries(Object.entries(all).filter(([name]) => !(name in environment)));
}

function runnerArguments(plan: KernelPlan): string[] {
  // With the machine's own network nothing is translated, and nobody outside may reach the runner.
  const [replIn, replOut] =
    plan.network?.mode === 'host'
      ? [`tcp://${LOOPBACK}:${String(plan.replInPort)}`, `tcp://${LOOPBACK}:${String(plan.replOutPort)}`]
      : [`tcp://*:${String(REPL_IN_PORT)}`, `tcp://*:${String(REPL_OUT_PORT)}`];
  return [
    ...['--repl-in', replIn, '--repl-out', replOut],
    ...['--runtime', plan.runtimeType],
    ...(plan.runtimePath === null ? [] : ['--runtime-path', plan.runtimePath]),
    ...['--work', HOME, '--config', CONFIG_HOME, '--helpers', HELPERS_HOME],
  ];
}
