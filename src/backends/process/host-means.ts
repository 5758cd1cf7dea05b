import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { KernelPlan } from '../backend.js';
import { ProcessBackendUnavailableError } from './errors.js';
import { identityFor, type KernelIdentity } from './kernel-identity.js';
import type { LaunchTools } from './launch.js';
import { findLaunchTools } from './launch-tools.js';
import { findCgroupBase, type CgroupBase } from './memory-cgroup.js';
import type { ProcessTable } from './process-table.js';
import type { ProcessBackendOptions } from './settings.js';
import { openSocketDirectory } from './socket-directory.js';

/** What this machine gives to kernel processes, found when the backend opens. What it could give but does not is logged. */
export class HostMeans {
  readonly tools: LaunchTools;
  /** Holds one directory of sockets a kernel. */
  readonly sockets: string;
  /** Null: kernels run without memory limits. */
  readonly cgroups: CgroupBase | null;
  readonly #logger: Logger;
  #isIdentityWarned = false;

  private constructor(
    found: { readonly tools: LaunchTools; readonly sockets: string; readonly cgroups: CgroupBase | null },
    logger: Logger,
  ) {
    this.tools = found.tools;
    this.sockets = found.sockets;
    this.cgroups = found.cgroups;
    this.#logger = logger;
  }

  /** @throws ProcessBackendUnavailableError naming what is missing. */
  static async find(options: ProcessBackendOptions, table: ProcessTable): Promise<HostMeans> {
    const { stateDir, runnerPath, nodePath = process.execPath, socketDir, runtimeDir, logger } = options;
    await table.bootId().catch((error: unknown) => {
      throw new ProcessBackendUnavailableError(
        `the process backend needs Linux and its /proc: ${messageOf(error)}`,
        { cause: error },
      );
    });
    const tools = await findLaunchTools({ nodePath, runnerPath });
    await mkdir(stateDir, { recursive: true, mode: 0o711 });
    const sockets = await openSocketDirectory({
      configured: socketDir ?? null,
      stateDirectory: stateDir,
      runtimeDirectory: runtimeDir ?? null,
    });
    const cgroups = await openCgroups(options);
    if (tools.taskset === null)
      logger.warn('kernels are not held on their cores: install taskset (util-linux)');
    return new HostMeans({ tools, sockets, cgroups }, logger);
  }

  /** @throws as `identityFor`. */
  async identityOf(plan: KernelPlan): Promise<KernelIdentity> {
    const needed = [this.sockets, dirname(plan.scratch.root), dirname(this.tools.runner)];
    const { uid, gid, ignored } = await identityFor(plan, this.tools, needed);
    if (ignored && !this.#isIdentityWarned) {
      this.#isIdentityWarned = true;
      this.#logger.warn('kernels run with the identity of the agent: only root can give them another');
    }
    return { uid, gid };
  }
}

async function openCgroups({ cgroup = 'auto', logger }: ProcessBackendOptions): Promise<CgroupBase | null> {
  if (cgroup === 'off') return null;
  const { base, why } = await findCgroupBase(cgroup === 'auto' ? null : cgroup.directory);
  if (base === null)
    logger.warn(
      'kernels run without memory limits: give the agent a cgroup of its own (systemd: Delegate=yes, DelegateSubgroup=agent)',
      { why },
    );
  return base;
}
