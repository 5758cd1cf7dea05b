import { isAbsolute } from 'node:path';
import { stat } from 'node:fs/promises';
import type { Clock } from '../../core/clock.js';
import type { AgentId } from '../../core/ids.js';
import type { Logger } from '../../core/logger.js';
import type { KernelPlan } from '../backend.js';
import type { DistroProbe } from './distro-probe.js';
import type { Engine } from './engine.js';
import { RunnerPackageError } from './errors.js';
import { KrunnerVolumes } from './krunner-volumes.js';
import { openRunnerPackage, originalMounts, type RunnerPackage } from './runner-package.js';
import { identityVariables, type RunnerStart } from './runner-start.js';

const PYTHON = '/opt/backend.ai/bin/python';
const JAIL = '/opt/kernel/jail';
/** It traces what it confines, and has rules of its own for system calls (spec/kernel-lifecycle.md 2.16). */
const JAIL_OPTIONS = {
  CapAdd: ['SYS_PTRACE'],
  SecurityOpt: ['seccomp=unconfined', 'apparmor=unconfined'],
};
const HOOK = '/opt/kernel/libbaihook.so';
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };

export const architectureOf = (node: string = process.arch): string => ARCHITECTURES[node] ?? node;

export interface OriginalRunnerOptions {
  /** Directory of the original's package `ai.backend.runner`; `kernel` and `helpers` lie beside it. */
  readonly packageDirectory: string;
  /** Distribution -> Docker volume, or directory of this machine, with the runner's Python. */
  readonly volumes: Readonly<Record<string, string>>;
  /** The runner tells more in the container's log. Default: no. */
  readonly isDebug?: boolean;
  /** Further arguments of the package's jail for kernels of an agent; null: they are not jailed. Default: none is. */
  readonly jailOf?: (agentId: AgentId) => readonly string[] | null;
}

/** Kernels with the original's own runner: an operator's choice for images that rely on it. */
export class OriginalRunner {
  readonly #options: OriginalRunnerOptions;
  readonly #package: RunnerPackage;
  readonly #probe: DistroProbe;

  private constructor(options: OriginalRunnerOptions, runnerPackage: RunnerPackage, probe: DistroProbe) {
    this.#options = options;
    this.#package = runnerPackage;
    this.#probe = probe;
  }

  /** @throws RunnerPackageError when the package is not there, or a volume that it cannot fill. */
  static async open(
    options: OriginalRunnerOptions,
    parts: {
      readonly engine: Engine;
      readonly probe: DistroProbe;
      readonly clock: Clock;
      readonly logger: Logger;
    },
  ): Promise<OriginalRunner> {
    const runnerPackage = await openRunnerPackage(options.packageDirectory, architectureOf());
    const ofEngine = new KrunnerVolumes({ ...parts, runnerPackage });
    for (const [distro, volume] of Object.entries(options.volumes)) {
      // The engine would make an empty one.
      if (!isAbsolute(volume)) await ofEngine.provide(distro, volume);
      else if (!(await stat(volume).catch(() => null))?.isDirectory())
        throw new RunnerPackageError(
          `there is no directory ${volume} for ${distro}: unpack krunner-env.${distro}.${architectureOf()}.tar.xz there, or correct container.krunner-volumes`,
        );
    }
    return new OriginalRunner(options, runnerPackage, parts.probe);
  }

  /** @throws as `originalMounts` and `DistroProbe.distroOf`; the image must be here. */
  async startOf(plan: KernelPlan, image: string): Promise<RunnerStart> {
    const distro = await this.#probe.distroOf(image);
    const { volumes, isDebug = false, jailOf } = this.#options;
    const jailArgs = jailOf?.(plan.agentId) ?? null;
    const isJailed = jailArgs !== null;
    const mounts = originalMounts(this.#package, { distro, arch: architectureOf(), volumes, isJailed });
    return originalStart(plan, mounts, { isDebug, jailArgs });
  }
}

/** Command and variables of spec/kernel-lifecycle.md 2.11 and 2.16.1. Pure. */
export function originalStart(
  plan: KernelPlan,
  mounts: RunnerStart['mounts'],
  {
    isDebug,
    jailArgs = null,
  }: {
    readonly isDebug: boolean;
    /** Null: no jail. */
    readonly jailArgs?: readonly string[] | null;
  },
): RunnerStart {
  const preloaded = (plan.environment['LD_PRELOAD'] ?? '').split(':').filter((path) => path !== '');
  return {
    entrypoint: ['/opt/kernel/entrypoint.sh'],
    command: [
      ...(jailArgs === null ? [] : [JAIL, ...jailArgs, '--']),
      ...[PYTHON, '-s', '-m', 'ai.backend.kernel'],
      ...(isDebug ? ['--debug'] : []),
      plan.runtimeType,
      ...(plan.runtimePath === null ? [] : [plan.runtimePath]),
    ],
    user: '0:0',
    groups: [],
    environment: {
      ...identityVariables(plan),
      LD_PRELOAD: [HOOK, ...preloaded.filter((path) => path !== HOOK)].join(':'),
    },
    mounts,
    ...(jailArgs === null ? {} : { hostConfig: JAIL_OPTIONS }),
  };
}
