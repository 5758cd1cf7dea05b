import { randomUUID } from 'node:crypto';
import type { Clock } from '../core/clock.js';
import { CancelledError, isSpleniumError, messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Metrics } from '../core/metrics.js';
import type { AgentEvent, EventSink } from '../events/catalogue.js';
import { type TaskKind, TaskMetrics } from './task-metrics.js';

/** What a task tells while it runs; `message` is for the user who waits. */
export type ReportProgress = (current: number, total: number, message: string | null) => Promise<void>;

export type BackgroundWork = (signal: AbortSignal, report: ReportProgress) => Promise<string | null>;

/**
 * Work that outlives its call: pulling, committing, pushing. Each task announces its start and exactly one end
 * (spec/events-and-stores.md 6.1).
 */
export class BackgroundTasks {
  readonly #agentId: AgentId;
  readonly #events: EventSink;
  readonly #logger: Logger;
  readonly #metrics: TaskMetrics;
  readonly #running = new Map<string, { readonly done: Promise<void>; readonly abort: AbortController }>();

  constructor(parts: {
    readonly agentId: AgentId;
    readonly events: EventSink;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly metrics: Metrics;
  }) {
    this.#metrics = new TaskMetrics(parts.metrics, parts.clock);
    this.#agentId = parts.agentId;
    this.#events = parts.events;
    this.#logger = parts.logger;
  }

  get size(): number {
    return this.#running.size;
  }

  /**
   * Starts the work and returns the task's id, a hyphenated UUID. The work's result text goes into `bgtask_done`.
   * `kind` is what it is counted as, `subject` what it works on.
   */
  start(kind: TaskKind, subject: string, work: BackgroundWork): string {
    const taskId = randomUUID();
    const abort = new AbortController();
    const done = this.#run(taskId, { kind, subject }, work, abort.signal)
      .catch((error: unknown) => {
        this.#logger.error('end of a background task not announced', { taskId, error: messageOf(error) });
      })
      .finally(() => this.#running.delete(taskId));
    this.#running.set(taskId, { done, abort });
    return taskId;
  }

  /** Cancels what runs and waits for the ends to be announced. */
  async close(): Promise<void> {
    for (const { abort } of this.#running.values()) abort.abort(new CancelledError('the agent stops'));
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  async #run(
    taskId: string,
    { kind, subject }: { readonly kind: TaskKind; readonly subject: string },
    work: BackgroundWork,
    signal: AbortSignal,
  ): Promise<void> {
    const ended = this.#metrics.started(kind);
    const report: ReportProgress = (current, total, message) =>
      this.#publish({ name: 'bgtask_updated', taskId, current, total, message });
    try {
      await report(0, 0, 'Task started');
      const message = await work(signal, report);
      ended('bgtask_done');
      await this.#publish({ name: 'bgtask_done', taskId, message });
    } catch (error) {
      ended(signal.aborted ? 'bgtask_cancelled' : 'bgtask_failed');
      if (signal.aborted)
        await this.#publish({ name: 'bgtask_cancelled', taskId, message: 'Task cancelled' });
      else {
        this.#logger.warn('background task failed', { taskId, task: kind, subject, error: messageOf(error) });
        const message = isSpleniumError(error) ? error.pythonRepr : messageOf(error);
        await this.#publish({ name: 'bgtask_failed', taskId, message });
      }
    }
  }

  async #publish(event: AgentEvent): Promise<void> {
    await this.#events.publish(this.#agentId, event);
  }
}
