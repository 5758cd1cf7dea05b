import { chown, mkdir, rm } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { throwIfCancelled } from '../../core/async.js';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { consoleFile } from './console-log.js';
import { KernelProcessStartError } from './errors.js';
import type { ExitWatcher, StartedNote } from './exit-watcher.js';
import { startKeeper, type Keeper } from './keeper.js';
import { affinityCommand, environmentOf, runnerCommand, type LaunchTools } from './launch.js';
import { createCgroup, joinCgroup, removeCgroup, type CgroupBase } from './memory-cgroup.js';
import { writeNote, type Launch, type Note, type ProcessState } from './note.js';
import type { ProcessTable } from './process-table.js';

export interface StartParts {
  readonly tools: LaunchTools;
  /** Null: no memory limits. */
  readonly cgroups: CgroupBase | null;
  readonly table: ProcessTable;
  readonly watcher: ExitWatcher;
  readonly niceness: number;
  readonly logger: Logger;
}

/**
 * Makes the sockets, the cgroup and the processes of a kernel that has none, writes down who they are and watches
 * them. A failure leaves nothing of it.
 * @throws KernelProcessStartError, CancelledError.
 */
export async function startKernel(
  note: Note & { readonly launch: Launch },
  parts: StartParts,
  signal: AbortSignal,
): Promise<void> {
  const { tools, cgroups, table, watcher } = parts;
  const { ids, state, launch } = note;
  const { kernelId } = ids;
  await makeSockets(state);
  let cgroup: string | null = null;
  let keeper: Keeper | null = null;
  try {
    cgroup = cgroups && (await makeCgroup(cgroups, note, launch.memoryBytes, parts.logger));
    keeper = await startKeeper(
      {
        shell: tools.shell,
        prefix: affinityCommand(launch, tools),
        runner: runnerCommand(launch, state, tools),
        environment: environmentOf(launch, state),
        work: state.work,
        directory: state.directory,
        consoleFile: consoleFile(state.directory),
      },
      signal,
    );
    const keeperStat = table.stat(keeper.pid);
    if (keeperStat === null) throw new KernelProcessStartError(`kernel ${kernelId} ended while it started`);
    if (cgroup !== null) await joinCgroup(cgroup, keeper.pid);
    if (parts.niceness > 0) setPriority(keeper.pid, parts.niceness);
    const started: StartedNote = {
      ...note,
      process: {
        pid: keeper.pid,
        startTicks: keeperStat.startTicks,
        bootId: await table.bootId(),
        cgroup,
      },
      exit: null,
    };
    await writeNote(state.directory, started);
    throwIfCancelled(signal, `kernel ${kernelId}`);
    watcher.watch(started, keeper.exited);
    keeper.go();
  } catch (error) {
    await keeper?.abandon();
    if (cgroup !== null) await removeCgroup(cgroup).catch(() => undefined);
    await rm(state.sockets, { recursive: true, force: true });
    await writeNote(state.directory, { ...note, process: null, exit: null });
    throw error;
  }
}

async function makeSockets(state: ProcessState): Promise<void> {
  await rm(state.sockets, { recursive: true, force: true });
  await mkdir(state.sockets, { mode: 0o700 });
  if (state.uid !== null) await chown(state.sockets, state.uid, state.gid ?? state.uid);
}

async function makeCgroup(
  base: CgroupBase,
  note: Note,
  memoryBytes: number,
  logger: Logger,
): Promise<string | null> {
  try {
    return await createCgroup(base, note.state.mark, memoryBytes);
  } catch (error) {
    logger.warn('a kernel runs without a memory limit', {
      kernelId: note.ids.kernelId,
      error: messageOf(error),
    });
    return null;
  }
}
