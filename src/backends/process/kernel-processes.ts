import type { Clock } from '../../core/clock.js';
import { KernelProcessStopError } from './errors.js';
import { cgroupPids } from './memory-cgroup.js';
import type { ProcessIdentity, ProcessStat, ProcessTable } from './process-table.js';

const POLL_MS = 20;
/** SIGKILL takes effect at once unless a process is blocked inside the operating system. */
const KILL_LIMIT_MS = 15_000;

/**
 * All processes of one kernel, also those that user code detached. A process belongs to the kernel if it is in the
 * kernel's cgroup, in the session of its keeper, carries the kernel's mark in its environment, descends from such a
 * process, or was seen to do so earlier.
 */
export class KernelProcesses {
  readonly #table: ProcessTable;
  readonly #clock: Clock;
  readonly #leader: ProcessIdentity;
  readonly #mark: string;
  readonly #cgroup: string | null;
  readonly #seen = new Map<number, number>();

  constructor(options: {
    readonly table: ProcessTable;
    readonly clock: Clock;
    readonly leader: ProcessIdentity;
    /** `NAME=value` that only this kernel's processes have in their environment. */
    readonly mark: string;
    readonly cgroup: string | null;
  }) {
    this.#table = options.table;
    this.#clock = options.clock;
    this.#leader = options.leader;
    this.#mark = options.mark;
    this.#cgroup = options.cgroup;
  }

  /** Is the process that keeps the runner alive? */
  async leaderIsAlive(): Promise<boolean> {
    return this.#table.isAlive(this.#leader) && (await this.#table.bootId()) === this.#leader.bootId;
  }

  async members(): Promise<readonly ProcessStat[]> {
    if ((await this.#table.bootId()) !== this.#leader.bootId) return [];
    const inCgroup = new Set(this.#cgroup === null ? [] : await cgroupPids(this.#cgroup));
    const all = await this.#table.list();
    // A session id is a pid too: it names our session for certain only as long as its leader lives.
    const leaderAlive = this.#table.isAlive(this.#leader);
    const members = new Map<number, ProcessStat>();
    for (const process of all) {
      // Older than the kernel or the daemon itself: never its own, whatever the rest says.
      if (process.startTicks < this.#leader.startTicks || process.pid === globalThis.process.pid) continue;
      if (
        inCgroup.has(process.pid) ||
        this.#seen.get(process.pid) === process.startTicks ||
        (leaderAlive && process.session === this.#leader.pid) ||
        (await this.#table.hasEnvironment(process.pid, this.#mark))
      )
        members.set(process.pid, process);
    }
    for (let grown = members.size > 0; grown;) {
      grown = false;
      for (const process of all)
        if (members.has(process.parentPid) && !members.has(process.pid)) {
          members.set(process.pid, process);
          grown = true;
        }
    }
    for (const process of members.values()) this.#seen.set(process.pid, process.startTicks);
    return [...members.values()];
  }

  /**
   * Asks the runner's group to end, waits for it, then kills what is left; resolves once nothing is.
   * @throws KernelProcessStopError when something survives SIGKILL.
   */
  async terminate(graceMs: number): Promise<void> {
    if ((await this.leaderIsAlive()) && graceMs > 0) {
      // Remembers processes that lose every other sign of belonging once the leader is gone.
      await this.members();
      this.#table.signalGroup(this.#leader, 'SIGTERM');
      const deadline = this.#clock.monotonicMs() + graceMs;
      while (this.#table.isAlive(this.#leader) && this.#clock.monotonicMs() < deadline)
        await this.#clock.sleep(Math.min(POLL_MS, graceMs));
    }
    await this.killAll();
  }

  /** @throws KernelProcessStopError when something survives. */
  async killAll(): Promise<void> {
    const deadline = this.#clock.monotonicMs() + KILL_LIMIT_MS;
    for (;;) {
      const members = await this.members();
      if (members.length === 0) return;
      for (const member of members) this.#table.signal(member, 'SIGKILL');
      if (this.#clock.monotonicMs() > deadline)
        throw new KernelProcessStopError(
          `processes ${members.map(({ pid, state }) => `${String(pid)} (${state})`).join(', ')} survive SIGKILL: ` +
            'they are blocked in the operating system; look at their /proc/<pid>/stack and mounts, then try again',
        );
      await this.#clock.sleep(POLL_MS);
    }
  }
}
