import type { Clock } from '../core/clock.js';
import type { Metrics } from '../core/metrics.js';

/** What this process takes of the machine, under the names of the original; to be refreshed before a reading. */
export class ProcessMetrics {
  readonly #clock: Clock;
  readonly #set: Readonly<Record<'tasks' | 'cpu' | 'rss' | 'vms', (value: number) => void>>;
  #last: { readonly atMs: number; readonly cpuMs: number };

  constructor(options: { readonly metrics: Metrics; readonly clock: Clock }) {
    const { metrics, clock } = options;
    const gauge = (name: string, help: string) => {
      const made = metrics.gauge({ name, help });
      return (value: number) => {
        made.set(value);
      };
    };
    this.#clock = clock;
    this.#set = {
      tasks: gauge(
        'backendai_async_task_count',
        'Resources that keep the event loop of this process busy: sockets, timers, child processes.',
      ),
      cpu: gauge(
        'backendai_cpu_usage_percent',
        'CPU time of this process since the last reading, in percent of one core.',
      ),
      rss: gauge('backendai_memory_used_rss', 'Resident memory of this process in bytes.'),
      vms: gauge('backendai_memory_used_vms', 'Virtual memory of this process in bytes.'),
    };
    this.#last = { atMs: clock.monotonicMs(), cpuMs: cpuMs() };
  }

  /** `statm`: the content of `/proc/self/statm`; null where there is none. */
  refresh(statm: string | null, pageBytes = 4096): void {
    const now = { atMs: this.#clock.monotonicMs(), cpuMs: cpuMs() };
    const elapsedMs = now.atMs - this.#last.atMs;
    if (elapsedMs > 0) this.#set.cpu(((now.cpuMs - this.#last.cpuMs) / elapsedMs) * 100);
    this.#last = now;
    this.#set.tasks(process.getActiveResourcesInfo().length);
    this.#set.rss(process.memoryUsage.rss());
    const pages = Number(statm?.split(' ')[0]);
    if (Number.isFinite(pages) && pages > 0) this.#set.vms(pages * pageBytes);
  }
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
