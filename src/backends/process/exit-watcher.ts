import type { Clock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { KernelExit } from '../backend.js';
import { rotateConsole } from './console-log.js';
import { describeExit, readExitStatus } from './keeper.js';
import { KernelProcesses } from './kernel-processes.js';
import { markOf } from './launch.js';
import { oomKills, removeCgroup } from './memory-cgroup.js';
import { handleOf, readNote, writeNote, type KeeperProcess, type Note, type Outcome } from './note.js';
import type { ProcessTable } from './process-table.js';

/** A note of a kernel that was started. */
export type StartedNote = Note & { readonly process: KeeperProcess };

interface Watch {
  readonly note: StartedNote;
  /** The keeper is no child of this process: only looking tells that it is gone. */
  readonly polled: boolean;
  settling: Promise<void> | null;
}

/** How many looks at a process pass between two looks at the size of its console log. */
const LOOKS_PER_ROTATION = 10;

/** Notices the end of kernels, own children or not, tidies up after them and reports each end once. */
export class ExitWatcher {
  readonly #table: ProcessTable;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #pollIntervalMs: number;
  readonly #logMaxBytes: number;
  readonly #listeners = new Set<(exit: KernelExit) => void>();
  readonly #watches = new Map<string, Watch>();
  readonly #concluding = new Map<string, Promise<Outcome>>();
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> | null = null;
  #looks = 0;
  #closed = false;

  constructor(options: {
    readonly table: ProcessTable;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly pollIntervalMs: number;
    readonly logMaxBytes: number;
  }) {
    this.#table = options.table;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#pollIntervalMs = options.pollIntervalMs;
    this.#logMaxBytes = options.logMaxBytes;
  }

  onExit(listener: (exit: KernelExit) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Watches a running kernel; nothing happens when it is watched already. `exited` is there for own children. */
  watch(note: StartedNote, exited: Promise<void> | null): void {
    const { mark } = note.state;
    if (this.#closed || this.#watches.has(mark)) return;
    const watch: Watch = { note, polled: exited === null, settling: null };
    this.#watches.set(mark, watch);
    void exited?.then(() => {
      if (!this.#closed) void this.#settle(watch);
    });
    this.#timer ??= setInterval(() => {
      this.#look();
    }, this.#pollIntervalMs).unref();
  }

  /** The processes of the kernel are gone: resolves once that is written down and, if it was watched, reported. */
  async settled(note: StartedNote): Promise<void> {
    const watch = this.#watches.get(note.state.mark);
    if (watch) await this.#settle(watch);
    else if (note.exit === null) await this.conclude(note);
  }

  processesOf(note: StartedNote): KernelProcesses {
    return new KernelProcesses({
      table: this.#table,
      clock: this.#clock,
      leader: note.process,
      mark: markOf(note.state),
      cgroup: note.process.cgroup,
    });
  }

  /** Stops watching. Kernels go on; their ends are found by whoever looks at their notes next. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
    await this.#looking;
    for (const { settling } of [...this.#watches.values()]) await settling;
    this.#watches.clear();
    this.#listeners.clear();
  }

  #look(): void {
    this.#looking ??= this.#lookOnce().finally(() => {
      this.#looking = null;
    });
  }

  async #lookOnce(): Promise<void> {
    this.#looks += 1;
    for (const watch of [...this.#watches.values()])
      if (watch.polled && !this.#table.isAlive(watch.note.process)) void this.#settle(watch);
    if (this.#looks % LOOKS_PER_ROTATION !== 0) return;
    for (const { note } of [...this.#watches.values()])
      await rotateConsole(note.state.directory, this.#logMaxBytes).catch((error: unknown) => {
        this.#warn(note, 'cannot shorten the console log of a kernel', error);
      });
  }

  /** Never rejects. */
  #settle(watch: Watch): Promise<void> {
    watch.settling ??= (async () => {
      const { note } = watch;
      const outcome = await this.conclude(note);
      this.#watches.delete(note.state.mark);
      if (this.#watches.size === 0 && this.#timer) {
        clearInterval(this.#timer);
        this.#timer = null;
      }
      const exit = { handle: handleOf(note), ...outcome };
      for (const listener of [...this.#listeners])
        try {
          listener(exit);
        } catch (error) {
          this.#warn(note, 'a listener to kernel exits failed', error);
        }
    })();
    return watch.settling;
  }

  /**
   * The runner is gone, and with it the kernel: kills what it left behind, writes the outcome into the note and
   * removes the cgroup. Concurrent calls for one kernel are joined. Never rejects: what cannot be tidied is logged.
   */
  conclude(note: StartedNote): Promise<Outcome> {
    const { mark } = note.state;
    const running = this.#concluding.get(mark);
    if (running) return running;
    const conclusion = this.#concludeOnce(note).finally(() => this.#concluding.delete(mark));
    this.#concluding.set(mark, conclusion);
    return conclusion;
  }

  async #concludeOnce(note: StartedNote): Promise<Outcome> {
    const { state, process: keeper } = note;
    await this.processesOf(note)
      .killAll()
      .catch((error: unknown) => {
        this.#warn(note, 'processes of an ended kernel stay', error);
      });
    const exitCode = await readExitStatus(state.directory).catch(() => null);
    const kills = keeper.cgroup === null ? 0 : await oomKills(keeper.cgroup);
    // A kernel may lose one process for lack of memory and end later for another reason.
    const oomKilled = kills > 0 && (exitCode === null || exitCode === -9);
    const outcome = { exitCode, oomKilled, detail: describeExit(exitCode, oomKilled) };
    try {
      // By now the kernel may be removed, or its place taken by a new incarnation.
      const latest = await readNote(state.directory);
      if (latest?.state.mark === state.mark) await writeNote(state.directory, { ...latest, exit: outcome });
    } catch (error) {
      this.#warn(note, 'cannot write down the exit of a kernel', error);
    }
    if (keeper.cgroup !== null)
      await removeCgroup(keeper.cgroup).catch((error: unknown) => {
        this.#warn(note, 'cannot remove the cgroup of a kernel', error);
      });
    return outcome;
  }

  #warn(note: Note, message: string, error: unknown): void {
    const { agentId, kernelId } = note.ids;
    this.#logger.warn(message, { agentId, kernelId, error: messageOf(error) });
  }
}
