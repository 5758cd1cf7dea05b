import { readFileSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { mapBounded } from '../../core/async.js';

/** One line of `/proc/<pid>/stat`, as far as telling processes apart and killing them needs it. */
export interface ProcessStat {
  readonly pid: number;
  /** One letter; `Z` and `X` are dead already. */
  readonly state: string;
  readonly parentPid: number;
  readonly group: number;
  readonly session: number;
  /** Clock ticks from the start of the machine to the start of the process. */
  readonly startTicks: number;
}

/** Names one process for good: a pid alone names another one as soon as the system has recycled it. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: number;
  readonly bootId: string;
}

/** The command name may hold spaces and parentheses, so the fields start after the last `)`. */
export function parseStat(text: string): ProcessStat | null {
  const nameEnd = text.lastIndexOf(')');
  const pid = Number.parseInt(text, 10);
  const fields = text
    .slice(nameEnd + 1)
    .trim()
    .split(' ');
  const [state, parentPid, group, session] = fields;
  const startTicks = fields[19];
  if (nameEnd < 0 || !Number.isInteger(pid) || state === undefined || startTicks === undefined) return null;
  return {
    pid,
    state,
    parentPid: Number(parentPid),
    group: Number(group),
    session: Number(session),
    startTicks: Number(startTicks),
  };
}

/** A zombie waits for its parent to read its status; nothing of it runs. */
export const isRunning = (stat: ProcessStat): boolean => stat.state !== 'Z' && stat.state !== 'X';

/** A machine may have more processes than this one may have files open. */
const OPEN_FILES = 16;

/** What `/proc` says. A process that vanishes while it is read is simply absent from the answer. */
export class ProcessTable {
  readonly #proc: string;

  constructor(procDirectory = '/proc') {
    this.#proc = procDirectory;
  }

  /** Changes with every start of the machine. */
  async bootId(): Promise<string> {
    return (await readFile(join(this.#proc, 'sys/kernel/random/boot_id'), 'utf8')).trim();
  }

  stat(pid: number): ProcessStat | null {
    try {
      return parseStat(readFileSync(join(this.#proc, String(pid), 'stat'), 'utf8'));
    } catch {
      return null;
    }
  }

  /** The machine must not have been started anew since: compare `bootId` first. */
  isAlive(identity: { readonly pid: number; readonly startTicks: number }): boolean {
    const stat = this.stat(identity.pid);
    return stat !== null && isRunning(stat) && stat.startTicks === identity.startTicks;
  }

  /** All running processes of the machine. */
  async list(): Promise<readonly ProcessStat[]> {
    const names = await readdir(this.#proc);
    const pids = names.filter((name) => /^\d+$/.test(name));
    const stats = await mapBounded(pids, OPEN_FILES, async (pid) => {
      try {
        return parseStat(await readFile(join(this.#proc, pid, 'stat'), 'utf8'));
      } catch {
        return null;
      }
    });
    return stats.filter((stat) => stat !== null).filter(isRunning);
  }

  /** The `NAME=value` texts that the process started with; none where we may not look. */
  async environment(pid: number): Promise<readonly string[]> {
    try {
      return (await readFile(join(this.#proc, String(pid), 'environ'), 'utf8')).split('\0');
    } catch {
      return [];
    }
  }

  /** Did the process start with exactly this `NAME=value` in its environment? False where we may not look. */
  async hasEnvironment(pid: number, entry: string): Promise<boolean> {
    return (await this.environment(pid)).includes(entry);
  }

  /**
   * Sends the signal unless the pid meanwhile names another process. Between the look and the signal lie
   * microseconds, and the system hands out a whole round of pids before it recycles one.
   */
  signal(identity: { readonly pid: number; readonly startTicks: number }, name: NodeJS.Signals): void {
    if (this.isAlive(identity)) send(identity.pid, name);
  }

  /** Signals the group that the process leads; only while that very process lives. */
  signalGroup(leader: { readonly pid: number; readonly startTicks: number }, name: NodeJS.Signals): void {
    if (this.isAlive(leader)) send(-leader.pid, name);
  }
}

function send(target: number, name: NodeJS.Signals): void {
  try {
    process.kill(target, name);
  } catch {
    // Gone in between, or not ours to signal: whoever waits for the end will notice.
  }
}
