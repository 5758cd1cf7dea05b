import { within } from '../core/async.js';
import type { Clock } from '../core/clock.js';
import { isSpleniumError, messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { StoreUnavailableError } from '../stores/errors.js';

interface StoreWaitParts {
  /** Ends the waiting: the daemon is told to stop. */
  readonly signal: AbortSignal;
  /** For all that one start waits for, counted from now; null: no limit. */
  readonly deadlineMs: number | null;
  readonly clock: Clock;
  readonly logger: Logger;
}

const RETRY_MS = { first: 500, most: 10_000 } as const;
/** Pauses between two lines about one wait: a store may be away for days. */
const REPORT_MS = { first: 10_000, most: 300_000 } as const;

/**
 * The patience of one start with its stores. What they hold is needed before anything else can start, and after a
 * power cut a node may well be up before them (spec/events-and-stores.md 9.1).
 */
export class StoreWait {
  readonly #parts: StoreWaitParts;
  readonly #startedAtMs: number;
  #waitingFor: string | null = null;

  constructor(parts: StoreWaitParts) {
    this.#parts = parts;
    this.#startedAtMs = parts.clock.monotonicMs();
  }

  /** For health: what the start waits for now, and why it has not got it. Null when it goes on. */
  get waitingFor(): string | null {
    return this.#waitingFor;
  }

  /** Until the deadline; null when there is none. */
  get leftMs(): number | null {
    const { deadlineMs, clock } = this.#parts;
    return deadlineMs === null ? null : Math.max(0, deadlineMs - (clock.monotonicMs() - this.#startedAtMs));
  }

  /**
   * Repeats until it works. Says so at once, then ever more rarely.
   * @throws the signal's reason; StoreUnavailableError at the deadline; at once what is no store's absence.
   */
  async until<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    const { signal, clock, logger } = this.#parts;
    let reportMs: number = REPORT_MS.first;
    let reportedAtMs = -Infinity;
    let reason = 'no answer';
    try {
      for (let waitMs: number = RETRY_MS.first; ; waitMs = Math.min(waitMs * 2, RETRY_MS.most)) {
        signal.throwIfAborted();
        const failure = await this.#attempt(what, attempt);
        if ('value' in failure) return failure.value;
        // An attempt that was cut off by the deadline knows less than the one before it.
        reason = failure.message ?? reason;
        this.#waitingFor = `${what}: ${reason}`;
        if (this.leftMs === 0) throw this.#tooLate(what, reason);
        if (clock.monotonicMs() - reportedAtMs >= reportMs || reportedAtMs === -Infinity) {
          if (reportedAtMs !== -Infinity) reportMs = Math.min(reportMs * 2, REPORT_MS.most);
          reportedAtMs = clock.monotonicMs();
          logger.warn('waiting for a store', { what, error: reason, nextReportMs: reportMs });
        }
        await clock.sleep(Math.min(waitMs, this.leftMs ?? waitMs), signal);
      }
    } finally {
      this.#waitingFor = null;
    }
  }

  /** While something else than a store is waited for. */
  async during<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.#waitingFor = what;
    try {
      return await work();
    } finally {
      this.#waitingFor = null;
    }
  }

  async #attempt<T>(
    what: string,
    attempt: () => Promise<T>,
  ): Promise<{ readonly value: T } | { readonly message: string | null }> {
    try {
      return { value: await within(attempt(), { timeoutMs: this.leftMs ?? undefined, what }) };
    } catch (error) {
      if (isSpleniumError(error, 'TIMEOUT')) return { message: null };
      if (!isSpleniumError(error, 'STORE_UNAVAILABLE')) throw error;
      return { message: messageOf(error) };
    }
  }

  #tooLate(what: string, message: string): StoreUnavailableError {
    const seconds = String((this.#parts.deadlineMs ?? 0) / 1000);
    return new StoreUnavailableError(
      `${what} was not to be had within ${seconds} s of the start (splenium.store-start-deadline-sec): ${message}`,
    );
  }
}
