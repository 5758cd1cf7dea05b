import { messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { EventSink } from './catalogue.js';

interface ErrorReportsParts {
  readonly agentId: AgentId;
  readonly events: EventSink;
  readonly logger: Logger;
}

/** Tells managers what fails on an agent by itself, once a failure and not once a round: they keep what they are told. */
export class ErrorReports {
  readonly #parts: ErrorReportsParts;
  readonly #failing = new Set<string>();

  constructor(parts: ErrorReportsParts) {
    this.#parts = parts;
  }

  /** `error` null: what failed works again, and its next failure is news. */
  note(what: string, error: string | null): void {
    if (error === null) {
      this.#failing.delete(what);
      return;
    }
    if (this.#failing.has(what)) return;
    this.#failing.add(what);
    const { agentId, events, logger } = this.#parts;
    events
      .publish(agentId, { name: 'agent_error', message: `${what}: ${error}`, traceback: null })
      .catch((failure: unknown) => {
        logger.warn('an error of the agent is not announced', { agentId, what, error: messageOf(failure) });
      });
  }
}
