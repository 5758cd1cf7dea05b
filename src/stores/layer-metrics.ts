import type { Redis } from 'ioredis';
import type { Clock } from '../core/clock.js';
import type { Counter, Gauge, Histogram, Metrics } from '../core/metrics.js';

const DOMAIN = 'valkey';

/**
 * What the original counts of each layer that talks to Redis (spec/events-and-stores.md 8.3), for the commands of a
 * connection: `layer` is the connection's purpose, `operation` the command.
 */
export class LayerMetrics {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #running: Gauge;
  readonly #done: Counter;
  readonly #failed: Counter;
  readonly #durations: Histogram;

  constructor(metrics: Metrics, clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
    this.#running = metrics.gauge({
      name: 'backendai_layer_operation_triggered_count',
      help: 'Commands to Redis that wait for their answer.',
      labels: ['domain', 'layer', 'operation'],
    });
    this.#done = metrics.counter({
      name: 'backendai_layer_operation_count_total',
      help: 'Commands to Redis that came to an end.',
      labels: ['domain', 'layer', 'operation', 'success'],
    });
    this.#failed = metrics.counter({
      name: 'backendai_layer_operation_error_count_total',
      help: 'Commands to Redis that failed, by the name of the error.',
      labels: ['domain', 'layer', 'operation', 'error_code'],
    });
    this.#durations = metrics.histogram({
      name: 'backendai_layer_operation_duration_sec',
      help: 'Seconds from a command to Redis to its answer.',
      labels: ['domain', 'layer', 'operation', 'success'],
      buckets: [0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30],
    });
  }

  /** Counts every command of the connection from now on, those within transactions each for itself. */
  watch(client: Redis, layer: string): void {
    const send = client.sendCommand.bind(client);
    client.sendCommand = (command, stream) => {
      this.#observe(command, layer);
      return send(command, stream);
    };
  }

  #observe(command: { readonly name: string; readonly promise: Promise<unknown> }, layer: string): void {
    const labels = { domain: DOMAIN, layer, operation: command.name.toLowerCase() };
    const begunAtMs = this.#clock.monotonicMs();
    this.#running.add(1, labels);
    const ended = (success: string): void => {
      this.#running.add(-1, labels);
      this.#done.increment({ ...labels, success });
      this.#durations.observe((this.#clock.monotonicMs() - begunAtMs) / 1000, { ...labels, success });
    };
    command.promise.then(
      () => {
        ended('True');
      },
      (error: unknown) => {
        ended('False');
        this.#failed.increment({ ...labels, error_code: codeOf(error) });
      },
    );
  }
}

/** The first word of what the server says (`OOM`, `READONLY`), else the class of the error. */
function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'unknown';
  const { name, message } = error as { readonly name?: unknown; readonly message?: unknown };
  if (name === 'ReplyError') return /^[A-Z]+/.exec(String(message))?.[0] ?? 'ReplyError';
  return String(name);
}
