import { readFile, realpath } from 'node:fs/promises';
import { isAbsolute, relative } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../../core/clock.js';
import { hasCode, messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Questions } from '../../core/questions.js';
import type { KernelPlan, PlannedMount } from '../backend.js';
import { checkProfile, type Hardening } from './container-security.js';
import type { ContainerSettings } from './container-spec.js';
import type { DistroCache } from './distro-probe.js';
import { DockerUnavailableError, MountRefusedError } from './errors.js';
import { findHostDevices, findHostMounts, findOwnLimits } from './host-facts.js';
import { architectureOf, type OriginalRunnerOptions } from './original-runner.js';
import { helperMounts, openRunnerPackage } from './runner-package.js';
import { buildRunnerVolume, openRunnerVolume } from './runner-volume.js';

export interface DockerBackendOptions {
  /** The engine's socket. Default: what `DOCKER_HOST` says, or `/var/run/docker.sock`. */
  readonly socketPath?: string;
  /**
   * What kernels get as `/opt/splenium`: made at `open` below `root` from this program's Node.js and the bundled
   * runner, unless it is there; or one that was made before.
   */
  readonly runnerVolume:
    | {
        readonly root: string;
        readonly runnerPath: string;
        readonly entrypointPath: string;
        readonly nodePath?: string;
      }
    | { readonly directory: string };
  /** The original's runner instead of ours. Default: ours. */
  readonly originalRunner?: OriginalRunnerOptions;
  /** Directory of the original's runner package, of which our runner gets an SSH server and the like. Default: none. */
  readonly helperDirectory?: string;
  /** What nodes know of images, for the original's runner. Default: each process finds it out by itself. */
  readonly distroCache?: DistroCache;
  /** Log files of a container (`container-logs`). Default: driver `local`, 10 MiB. */
  readonly logs?: Partial<ContainerSettings['logs']>;
  /** Default `original`. */
  readonly hardening?: Hardening;
  /** Most processes and threads of one kernel. Default: no limit, 4096 with `strict`. */
  readonly pidsLimit?: number | null;
  /** Path of a seccomp profile. Default: the engine's own profile. */
  readonly seccompProfilePath?: string;
  /** Folders may be mounted from below these directories only. Default: from anywhere. */
  readonly allowedMountRoots?: readonly string[];
  /** JSON files with container options that are merged over ours, in this order; absent ones are skipped. */
  readonly overridePaths?: readonly string[];
  /** What every kernel sees beside the clock's files, such as the directory of core dumps. */
  readonly furtherMounts?: readonly PlannedMount[];
  /**
   * Where the agents of this process have their sockets, each in a directory `agent.<agent id>` that its kernels get
   * as long as it is there when they are made. Default: kernels get none.
   */
  readonly agentSockets?: string;
  /** How long a killed container may take to be gone. Default 30 s. */
  readonly killDeadlineMs?: number;
  /** How long the engine may take for what it answers at once. Default 30 s; three times that for create, start, remove. */
  readonly engineDeadlineMs?: number;
  /** How often watched containers are looked at although no event said so. Default 30 s. */
  readonly sweepIntervalMs?: number;
  /** How many entries one file listing shows at most. Default 10,000. */
  readonly listMaxEntries?: number;
  /** Through which files are read that may hang. Default: one of its own. */
  readonly questions?: Questions;
  readonly logger: Logger;
  readonly clock?: Clock;
}

const STRICT_PIDS_LIMIT = 4096;
const LOG_MAX_BYTES = 10 * 1024 * 1024;

/** What stays the same for all containers: the options, and what this machine has. @throws RunnerVolumeError, RunnerPackageError, DockerUnavailableError */
export async function findSettings(options: DockerBackendOptions): Promise<ContainerSettings> {
  const { runnerVolume, logs, hardening = 'original', pidsLimit, seccompProfilePath } = options;
  const runner =
    'directory' in runnerVolume
      ? await openRunnerVolume(runnerVolume.directory)
      : await buildRunnerVolume(runnerVolume);
  const { helperDirectory } = options;
  const helpers =
    helperDirectory === undefined
      ? []
      : helperMounts(await openRunnerPackage(helperDirectory, architectureOf()), architectureOf());
  return {
    runner: { ...runner, helpers },
    ownIdentity: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
    ownLimits: await findOwnLimits(),
    hostMounts: [...(await findHostMounts()), ...(options.furtherMounts ?? [])],
    hostDevices: await findHostDevices(),
    logs: { driver: 'local', maxBytes: LOG_MAX_BYTES, ...logs },
    hardening,
    pidsLimit: pidsLimit === undefined ? (hardening === 'strict' ? STRICT_PIDS_LIMIT : null) : pidsLimit,
    seccompProfile: seccompProfilePath === undefined ? null : await readProfile(seccompProfilePath),
    overrides: await readOverrides(options.overridePaths ?? []),
  };
}

/**
 * Folders, sockets behind relays, and what devices mount. @throws MountRefusedError for one that lies outside of the
 * roots, when there are any.
 */
export async function checkMounts(plan: KernelPlan, roots: readonly string[] | undefined): Promise<void> {
  if (roots === undefined) return;
  const real = (path: string) => realpath(path).catch(() => path);
  const allowed = await Promise.all(roots.map(real));
  for (const { source, behind = source } of [...plan.mounts, ...(plan.containerMounts ?? [])]) {
    if (!isAbsolute(behind)) continue;
    // Through links: what counts is what the kernel would see.
    const seen = await real(behind);
    if (!allowed.some((root) => isBelow(root, seen)))
      throw new MountRefusedError(
        `kernel ${plan.kernelId}: ${behind} lies outside of the directories that kernels may see`,
      );
  }
}

function isBelow(root: string, path: string): boolean {
  const way = relative(root, path);
  return way === '' || (!way.startsWith('..') && !isAbsolute(way));
}

/** @throws DockerUnavailableError for a file that is no profile or cannot be read. */
async function readProfile(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new DockerUnavailableError(`the seccomp profile cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  });
  checkProfile(text, path);
  return text;
}

/** @throws DockerUnavailableError for a file that is there and unusable. */
async function readOverrides(
  paths: readonly string[],
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const overrides: Record<string, unknown>[] = [];
  for (const path of paths)
    try {
      overrides.push(z.record(z.string(), z.unknown()).parse(JSON.parse(await readFile(path, 'utf8'))));
    } catch (error) {
      if (hasCode(error, 'ENOENT')) continue;
      throw new DockerUnavailableError(`${path} does not hold container options: ${messageOf(error)}`, {
        cause: error,
      });
    }
  return overrides;
}
