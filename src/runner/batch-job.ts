import { hasCode } from '../core/errors.js';
import { BATCH_JOB_RUN_ID } from './execution.js';
import type { ExecutionResult } from './execution.js';
import type { RunnerLink } from './link.js';
import { linkSignals } from './linked-signal.js';

export interface BatchJobOptions {
  /** Overall limit; 0 expires at once, null means none. */
  readonly timeoutMs: number | null;
  readonly signal?: AbortSignal | undefined;
  /** Called before every turn: the agent reports `execution_started` each time. */
  readonly onTurn?: () => void;
}

export type BatchJobOutcome =
  /** The job is over; a null exit code means that the runner did not tell. */
  | { readonly status: 'finished'; readonly exitCode: number | null }
  /** The limit has passed. The job itself goes on: the manager ends its session. */
  | { readonly status: 'timeout' };

const TURN_MS = 1000;
const API_VERSION = 3;

/**
 * Runs the start-up command of a batch session to its end (spec/kernel-runner.md 3.10). Its output is in the
 * container log and the task log; here it is thrown away.
 * @throws RunnerClosedError when the kernel is gone, CancelledError.
 */
export function runBatchJob(
  link: RunnerLink,
  code: string,
  options: BatchJobOptions,
): Promise<BatchJobOutcome> {
  return follow(link, { mode: 'batch', opts: { exec: code } }, options);
}

/** Waits for a batch job that an earlier link started. @throws as `runBatchJob`. */
export function resumeBatchJob(link: RunnerLink, options: BatchJobOptions): Promise<BatchJobOutcome> {
  return follow(link, { mode: 'continue', opts: {} }, options);
}

async function follow(
  link: RunnerLink,
  first: { readonly mode: string; readonly opts: Readonly<Record<string, unknown>> },
  { timeoutMs, signal, onTurn }: BatchJobOptions,
): Promise<BatchJobOutcome> {
  if (timeoutMs !== null && timeoutMs <= 0) return { status: 'timeout' };
  const limit = new AbortController();
  const timer =
    timeoutMs === null
      ? undefined
      : setTimeout(() => {
          limit.abort();
        }, timeoutMs);
  const ends = linkSignals(signal, limit.signal);
  try {
    for (let request = first; ; request = { mode: 'continue', opts: {} }) {
      onTurn?.();
      const result: ExecutionResult = await link.execute({
        ...request,
        runId: BATCH_JOB_RUN_ID,
        code: '',
        flushTimeoutMs: TURN_MS,
        apiVersion: API_VERSION,
        signal: ends.signal,
      });
      if (result.status === 'finished') return { status: 'finished', exitCode: result.exitCode };
      if (result.status === 'exec-timeout') return { status: 'timeout' };
    }
  } catch (error) {
    if (hasCode(error, 'CANCELLED') && limit.signal.aborted) return { status: 'timeout' };
    throw error;
  } finally {
    clearTimeout(timer);
    ends.release();
  }
}
