import { messageOf } from '../../core/errors.js';
import type { LogFields } from '../../core/logger.js';
import { ErrorReports } from '../../events/error-reports.js';
import type { LifecycleParts } from './parts.js';

/** Work on the kernels of one agent that no caller waits for. What fails is logged, and told to managers once. */
export class BackgroundWork {
  readonly #logger: LifecycleParts['logger'];
  readonly #errors: ErrorReports;
  readonly #tasks = new Set<Promise<void>>();

  constructor(parts: Pick<LifecycleParts, 'agentId' | 'events' | 'logger'>) {
    this.#logger = parts.logger;
    this.#errors = new ErrorReports(parts);
  }

  /** Begins at once. `failure` says what did not work, should it not; the same words mean the same kind of failure. */
  begin(failure: string, work: () => Promise<void>, fields: LogFields = {}): void {
    const task = work()
      .then(() => {
        this.#errors.note(failure, null);
      })
      .catch((error: unknown) => {
        this.#logger.error(failure, { ...fields, error: messageOf(error) });
        this.#errors.note(failure, messageOf(error));
      })
      .finally(() => {
        this.#tasks.delete(task);
      });
    this.#tasks.add(task);
  }

  get isIdle(): boolean {
    return this.#tasks.size === 0;
  }

  /** Resolves when what is under way now is through. */
  async settled(): Promise<void> {
    await Promise.all(this.#tasks);
  }
}
