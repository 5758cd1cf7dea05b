import { readFile } from 'node:fs/promises';
import { hasCode } from '../core/errors.js';

/** A process beyond its number, which the system gives out again. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Boot id and start time of the process; null where the system does not tell (no /proc). */
  readonly start: string | null;
}

/** Field 22 of /proc/<pid>/stat, counted from the state behind the command name in parentheses. */
const START_TIME_FIELD = 19;

/** Null when there is no such process. */
export async function identifyProcess(pid: number): Promise<ProcessIdentity | null> {
  try {
    const [stat, bootId] = await Promise.all([
      readFile(`/proc/${String(pid)}/stat`, 'utf8'),
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    ]);
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A process that has ended and waits for its parent holds nothing any more.
    if (fields[0] === 'Z') return null;
    return { pid, start: `${bootId.trim()}/${fields[START_TIME_FIELD] ?? ''}` };
  } catch {
    return exists(pid) ? { pid, start: null } : null;
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // A process of another user.
    return hasCode(error, 'EPERM');
  }
}

/** Two sightings of one process? Where a start time is unknown the number has to do. */
export function sameProcess(one: ProcessIdentity, other: ProcessIdentity): boolean {
  return one.pid === other.pid && (one.start === null || other.start === null || one.start === other.start);
}
