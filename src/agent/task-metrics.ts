import type { Clock } from '../core/clock.js';
import type { Counter, Gauge, Histogram, Metrics } from '../core/metrics.js';

export type TaskKind = 'pull' | 'push' | 'commit';

/** What a task's end is announced as. */
export type TaskEnd = 'bgtask_done' | 'bgtask_failed' | 'bgtask_cancelled';

/** As the original counts them: by the name of a function of its own. */
const NAMES: Readonly<Record<TaskKind, string>> = { pull: '_pull', push: '_push_image', commit: '_commit' };
const DETAILS: Readonly<Record<TaskEnd, string>> = {
  bgtask_done: '',
  bgtask_failed: 'internal-error',
  bgtask_cancelled: 'canceled',
};

/** Background tasks of all agents of this process (spec/events-and-stores.md 8.3). */
export class TaskMetrics {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #running: Gauge;
  readonly #done: Counter;
  readonly #seconds: Histogram;

  constructor(metrics: Metrics, clock: Pick<Clock, 'monotonicMs'>) {
    const labels = ['task_name', 'status', 'domain', 'operation', 'error_detail'];
    this.#clock = clock;
    this.#running = metrics.gauge({
      name: 'backendai_bgtask_count',
      help: 'Background tasks that run.',
      labels: ['task_name'],
    });
    this.#done = metrics.counter({
      name: 'backendai_bgtask_done_count_total',
      help: 'Background tasks that came to an end, by what was announced.',
      labels,
    });
    this.#seconds = metrics.histogram({
      name: 'backendai_bgtask_processing_time_sec',
      help: 'How long background tasks took, in seconds.',
      labels,
      buckets: [0.1, 1, 10, 30, 60, 300, 600],
    });
  }

  /** Returns what is to be called at the task's end. */
  started(kind: TaskKind): (end: TaskEnd) => void {
    const startedAtMs = this.#clock.monotonicMs();
    const task = { task_name: NAMES[kind] };
    this.#running.add(1, task);
    return (end) => {
      const failed = end !== 'bgtask_done';
      const labels = {
        ...task,
        status: end,
        domain: failed ? 'bgtask' : '',
        operation: failed ? 'execute' : '',
        error_detail: DETAILS[end],
      };
      this.#running.add(-1, task);
      this.#done.increment(labels);
      this.#seconds.observe((this.#clock.monotonicMs() - startedAtMs) / 1000, labels);
    };
  }
}
