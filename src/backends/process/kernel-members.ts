import { cgroupPids } from './memory-cgroup.js';
import { mapBounded } from '../../core/async.js';
import type { Questions } from '../../core/questions.js';
import type { KeeperProcess } from './note.js';
import type { ProcessStat, ProcessTable } from './process-table.js';

export interface KernelRoot {
  readonly leader: KeeperProcess;
  /** `NAME=value` that only this kernel's processes have in their environment. */
  readonly mark: string;
}

const FILES_AT_ONCE = 8;

/**
 * Process ids of many kernels by one look at the machine, in the order of the kernels; empty for one whose leader is
 * gone. The signs of belonging are those of `KernelProcesses`, but for what an earlier look has seen: whoever measures
 * may miss a process, whoever kills may not. What does not answer in time is passed over.
 */
export async function membersOfKernels(
  table: ProcessTable,
  kernels: readonly KernelRoot[],
  questions: Questions,
): Promise<readonly (readonly number[])[]> {
  if (kernels.length === 0) return [];
  const bootId = await table.bootId();
  const living = [...kernels.entries()].filter(
    ([, { leader }]) => leader.bootId === bootId && table.isAlive(leader),
  );
  const oldest = Math.min(...living.map(([, { leader }]) => leader.startTicks));
  const all = (await table.list()).filter(
    ({ pid, startTicks }) => startTicks >= oldest && pid !== process.pid,
  );
  const owners = new Map<number, number>();
  const bySession = new Map(living.map(([index, { leader }]) => [leader.pid, index]));
  for (const { pid, session } of all) {
    const owner = bySession.get(session);
    if (owner !== undefined) owners.set(pid, owner);
  }
  await mapBounded(living, FILES_AT_ONCE, async ([index, { leader }]) => {
    const { cgroup } = leader;
    if (cgroup === null) return;
    const pids = await questions.ask(`processes of ${cgroup}`, () => cgroupPids(cgroup));
    for (const pid of pids ?? []) owners.set(pid, index);
  });
  inherit(all, owners);
  // What is left has detached itself, or is somebody else's: its environment tells.
  const byMark = new Map(living.map(([index, { mark }]) => [mark, index]));
  await mapBounded(
    all.filter(({ pid }) => !owners.has(pid)),
    FILES_AT_ONCE,
    async ({ pid }) => {
      const environment = await questions.ask(`environment of process ${String(pid)}`, () =>
        table.environment(pid),
      );
      for (const entry of environment ?? []) {
        const owner = byMark.get(entry);
        if (owner !== undefined) owners.set(pid, owner);
      }
    },
  );
  inherit(all, owners);
  const members = kernels.map((): number[] => []);
  for (const { pid } of all) members[owners.get(pid) ?? -1]?.push(pid);
  return members;
}

/** Children belong to whom their parents belong. */
function inherit(all: readonly ProcessStat[], owners: Map<number, number>): void {
  for (let grown = owners.size > 0; grown;) {
    grown = false;
    for (const { pid, parentPid } of all) {
      const owner = owners.get(parentPid);
      if (owner === undefined || owners.has(pid)) continue;
      owners.set(pid, owner);
      grown = true;
    }
  }
}
