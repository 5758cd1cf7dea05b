import type { Clock } from '../core/clock.js';
import { CancelledError, isSpleniumError, messageOf } from '../core/errors.js';
import type { AgentId, KernelId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { EventSink } from '../events/catalogue.js';
import type { KernelRegistry } from '../kernels/kernel-registry.js';
import { BATCH_JOB_RUN_ID } from '../runner/execution.js';
import type { BatchJobRecord, BatchJournal, BatchOutcome } from './batch-journal.js';
import type { Execution } from './execution.js';

const FLUSH_TIMEOUT_MS = 1000;
/** What a job that an earlier run of the daemon started gets at least, to tell of its end. */
const RESUME_GRACE_MS = 5000;

interface BatchParts {
  readonly agentId: AgentId;
  readonly registry: KernelRegistry;
  readonly execution: Execution;
  readonly journal: BatchJournal;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly logger: Logger;
}

const TIMED_OUT: BatchOutcome = { name: 'session_failure', reason: 'task-timeout', exitCode: -2 };
/** The job went with its container while the kernel lives on, as in a restart. */
const LOST: BatchOutcome = { name: 'session_failure', reason: 'task-failed', exitCode: -1 };

/** The jobs of batch sessions: followed to their end, also over restarts of the daemon (spec/kernel-runner.md 3.10). */
export class BatchJobs {
  readonly #parts: BatchParts;
  readonly #closing = new AbortController();
  readonly #running = new Map<KernelId, Promise<void>>();
  /** The command of each kernel's last job that has ended; of kernels that are still here. */
  readonly #ended = new Map<KernelId, string>();

  constructor(parts: BatchParts) {
    this.#parts = parts;
  }

  /**
   * Accepts the job and returns; a kernel that is not here, or has a job already, is only logged. So is the same job once
   * more: a manager 26.9 was seen to start a session's job twice within a second, and a short one has ended by then.
   * @throws when the job cannot be noted on the disk; then it is not run.
   */
  async start(job: {
    readonly kernelId: KernelId;
    readonly sessionId: BatchJobRecord['sessionId'];
    readonly code: string;
    readonly timeoutMs: number | null;
  }): Promise<void> {
    const { registry, journal, clock, logger } = this.#parts;
    const { kernelId, sessionId, code, timeoutMs } = job;
    for (const ended of this.#ended.keys()) if (!registry.has(ended)) this.#ended.delete(ended);
    if (!registry.has(kernelId) || this.#running.has(kernelId) || this.#ended.get(kernelId) === code) {
      logger.warn('batch job refused', { kernelId, known: registry.has(kernelId) });
      return;
    }
    const acceptedAtMs = clock.nowMs();
    const deadlineMs = timeoutMs === null ? null : acceptedAtMs + timeoutMs;
    const record = { kernelId, sessionId, code, acceptedAtMs, deadlineMs, started: false, outcome: null };
    const accepted = journal.record(record);
    this.#follow(record, accepted);
    await accepted;
  }

  /** Goes on with the jobs of kernels that have survived; those of vanished kernels are forgotten. */
  async recover(): Promise<void> {
    for (const job of await this.#parts.journal.load())
      if (job.outcome !== null || this.#parts.registry.has(job.kernelId)) this.#follow(job);
      else await this.#parts.journal.forget(job.kernelId);
  }

  /** Stops following; the jobs go on in their kernels. */
  async close(): Promise<void> {
    this.#closing.abort(new CancelledError('the agent stops'));
    await Promise.all(this.#running.values());
  }

  #follow(job: BatchJobRecord, accepted: Promise<void> = Promise.resolve()): void {
    const { logger } = this.#parts;
    const followed = accepted
      .then(() => this.#run(job))
      .catch((error: unknown) => {
        logger.error('batch job lost', { kernelId: job.kernelId, error: messageOf(error) });
      })
      .finally(() => this.#running.delete(job.kernelId));
    this.#running.set(job.kernelId, followed);
  }

  async #run(job: BatchJobRecord): Promise<void> {
    const { agentId, events, journal } = this.#parts;
    if (this.#closing.signal.aborted) return;
    const outcome = job.outcome ?? (await this.#outcomeOf(job));
    if (outcome === 'unknown') return;
    if (outcome !== 'none') {
      if (!job.outcome) await journal.record({ ...job, started: true, outcome });
      // A crash before the record is forgotten announces nothing anew.
      const occurrence = `batch_job:${job.kernelId}:${String(job.acceptedAtMs)}`;
      await events.publish(agentId, { ...outcome, sessionId: job.sessionId }, occurrence);
    }
    // One that a restart of its kernel took may be asked for again.
    if (outcome !== 'none' && outcome !== LOST) this.#ended.set(job.kernelId, job.code);
    await journal.forget(job.kernelId);
  }

  /** `none`: the kernel is gone, and its own event tells the manager. `unknown`: the agent stops before the job ends. */
  async #outcomeOf(job: BatchJobRecord): Promise<BatchOutcome | 'none' | 'unknown'> {
    const { registry, clock } = this.#parts;
    const limit = new AbortController();
    const ended = new AbortController();
    if (job.deadlineMs !== null) {
      // A job that has ended while nobody looked is not late because of that.
      const dueMs = job.started ? Math.max(job.deadlineMs, clock.nowMs() + RESUME_GRACE_MS) : job.deadlineMs;
      void atTime(clock, dueMs, ended.signal, () => {
        limit.abort(new CancelledError('the time of the batch job is up'));
      });
    }
    try {
      return await this.#execute(job, AbortSignal.any([limit.signal, this.#closing.signal]));
    } catch (error) {
      if (this.#closing.signal.aborted) return 'unknown';
      if (limit.signal.aborted) return TIMED_OUT;
      if (!isSpleniumError(error)) throw error;
      return registry.find(job.kernelId)?.termination === null ? LOST : 'none';
    } finally {
      ended.abort();
    }
  }

  async #execute(job: BatchJobRecord, signal: AbortSignal): Promise<BatchOutcome> {
    const { execution, journal } = this.#parts;
    if (!job.started) {
      // Marked first: a crash in between loses a job, the other order could run it twice.
      await journal.record({ ...job, started: true });
      if (this.#closing.signal.aborted) await journal.record(job);
      signal.throwIfAborted();
    }
    for (let mode = job.started ? 'continue' : 'batch'; ; mode = 'continue') {
      const result = await execution.execute(
        job.kernelId,
        {
          runId: BATCH_JOB_RUN_ID,
          mode,
          code: '',
          opts: mode === 'batch' ? { exec: job.code } : {},
          flushTimeoutMs: FLUSH_TIMEOUT_MS,
          apiVersion: 3,
        },
        signal,
      );
      if (result.status === 'exec-timeout') return TIMED_OUT;
      if (result.status !== 'finished') continue;
      const exitCode = result.exitCode ?? -1;
      return exitCode === 0
        ? { name: 'session_success', reason: 'task-finished', exitCode }
        : { name: 'session_failure', reason: 'task-failed', exitCode };
    }
  }
}

/** Timers of Node.js take at most 2^31 - 1 ms; a job may have more time than that. */
const LONGEST_SLEEP_MS = 2 ** 31 - 1;

/** Calls back at the given time, unless the signal aborts before. */
async function atTime(
  clock: Clock,
  timeMs: number,
  signal: AbortSignal,
  callback: () => void,
): Promise<void> {
  try {
    for (let left = timeMs - clock.nowMs(); left > 0; left = timeMs - clock.nowMs())
      await clock.sleep(Math.min(left, LONGEST_SLEEP_MS), signal);
  } catch {
    return;
  }
  if (!signal.aborted) callback();
}
