import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { hasCode, RuntimeError, TimeoutError } from '../core/errors.js';

/** What `flock` ends with when the lock stays taken; no other failure of it has this status. */
const TAKEN_STATUS = 201;

/**
 * Does the work while this process holds the system's lock on a file (flock(2)), which the programs that write the
 * reports take too. It is held by a helper process, as Node.js cannot take it, and goes with this process whatever
 * becomes of it.
 * @throws TimeoutError when somebody else keeps the lock, RuntimeError where the `flock` program is not installed or
 * fails, and what the work throws.
 */
export async function underFileLock<T>(file: string, waitMs: number, work: () => Promise<T>): Promise<T> {
  const seconds = (waitMs / 1000).toFixed(3);
  const args = ['--exclusive', '--wait', seconds, '--conflict-exit-code', String(TAKEN_STATUS), file, 'cat'];
  const helper = spawn('flock', args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let complaint = '';
  helper.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(0, 500);
  });
  // It is told by the exit, or by what comes back.
  helper.stdin.on('error', () => undefined);
  const ended = new Promise<number | null>((resolve, reject) => {
    helper.once('error', reject);
    helper.once('close', resolve);
  });
  ended.catch(() => undefined);
  try {
    // What is written comes back as soon as `cat` runs, and that is when the lock is held.
    helper.stdin.write('\n');
    const status = await Promise.race([once(helper.stdout, 'data').then(() => 'held' as const), ended]);
    if (status === TAKEN_STATUS)
      throw new TimeoutError(`${file}: somebody else keeps the lock for longer than ${String(waitMs)} ms`);
    if (status !== 'held')
      throw new RuntimeError(
        `${file}: cannot be locked: ${complaint.trim() || `flock ended with ${String(status)}`}`,
      );
    return await work();
  } catch (error) {
    if (hasCode(error, 'ENOENT') && helper.pid === undefined)
      throw new RuntimeError(`${file}: the program flock (util-linux) is needed to lock it: install it`, {
        cause: error,
      });
    throw error;
  } finally {
    helper.stdin.end();
    await ended.catch(() => undefined);
  }
}
