import type { Clock } from '../../core/clock.js';
import { CancelledError } from '../../core/errors.js';

/** @throws CancelledError naming `what`. */
export async function cancellableSleep(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
  what: string,
): Promise<void> {
  const isAborted = () => signal.aborted;
  if (!isAborted())
    await clock.sleep(ms, signal).catch((error: unknown) => {
      if (!isAborted()) throw error;
    });
  if (isAborted()) throw new CancelledError(`${what}: cancelled`);
}
