import { join } from 'node:path';
import type { KernelHandle } from '../backend.js';
import { markOf } from './launch.js';
import type { CgroupBase } from './memory-cgroup.js';
import { stateOf, type Note } from './note.js';
import type { ProcessTable } from './process-table.js';

/**
 * Stands in for a note that cannot be read: what the handle says, and the processes that carry the kernel's mark. A
 * kernel found so can be watched, stopped and removed; it cannot be started again, as nobody knows how.
 */
export async function rebuildNote(
  handle: KernelHandle,
  table: ProcessTable,
  cgroups: CgroupBase | null,
): Promise<Note> {
  const { agentId, kernelId, sessionId, containerId } = handle;
  const state = stateOf(handle);
  const mark = markOf(state);
  const leaders = (await table.list())
    .filter(({ pid, session }) => pid === session)
    .sort((one, other) => one.startTicks - other.startTicks);
  let keeper = null;
  // The keeper is the oldest: what leads other sessions was started by it.
  for (const { pid, startTicks } of leaders)
    if (await table.hasEnvironment(pid, mark)) {
      const cgroup = cgroups && join(cgroups.directory, state.mark);
      keeper = { pid, startTicks, bootId: await table.bootId(), cgroup };
      break;
    }
  return {
    version: 1,
    ids: { agentId, kernelId, sessionId, containerId },
    state,
    launch: null,
    process: keeper,
    exit: null,
  };
}
