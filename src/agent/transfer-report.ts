import type { TransferListener } from '../backends/backend.js';
import type { Clock } from '../core/clock.js';
import type { ReportProgress } from './background-tasks.js';

type Progress = Parameters<TransferListener>[0];

interface TransferReportParts {
  readonly report: ReportProgress;
  readonly clock: Clock;
  /** At most one report in this time; default one second. */
  readonly intervalMs?: number;
}

/**
 * How far a pull or push is, for those who wait for its task. Engines tell of it many times a second and for each
 * layer; a report a second is enough for people, and does not push other events out of their stream.
 */
export class TransferReport {
  readonly #parts: TransferReportParts;
  #untold: Progress | null = null;
  #toldAtMs = -Infinity;
  #sending: Promise<void> = Promise.resolve();

  constructor(parts: TransferReportParts) {
    this.#parts = parts;
  }

  readonly listener: TransferListener = (progress) => {
    this.#untold = progress;
    const { clock, intervalMs = 1000 } = this.#parts;
    if (clock.monotonicMs() - this.#toldAtMs >= intervalMs) this.#tell();
  };

  /** Tells what is untold; resolves when all reports are out, so that the task's end comes after them. */
  async finish(): Promise<void> {
    this.#tell();
    await this.#sending;
  }

  #tell(): void {
    if (this.#untold === null) return;
    const { current, total, message } = this.#untold;
    this.#untold = null;
    this.#toldAtMs = this.#parts.clock.monotonicMs();
    // A report that is lost harms nobody.
    this.#sending = this.#sending
      .then(() => this.#parts.report(current, total, message))
      .catch(() => undefined);
  }
}
