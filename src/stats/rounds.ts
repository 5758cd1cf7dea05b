import type { Clock } from '../core/clock.js';
import { messageOf, nameOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';

interface RoundsParts {
  readonly name: string;
  readonly intervalMs: number;
  /**
   * Later rounds begin at whole multiples of the interval on the clock: those of several agents at the same moments.
   * Moments that pass while a round runs are left out.
   */
  readonly onGrid?: boolean;
  /** Before the first round. Default: half a second, or the interval where that is shorter. */
  readonly firstPauseMs?: number;
  readonly round: () => Promise<void>;
  /** Hears of each round: the name of its error, and how long it took. */
  readonly onRound?: (outcome: { readonly error: string | null; readonly durationMs: number }) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Long enough for connections that open meanwhile. */
const FIRST_PAUSE_MS = 500;

/**
 * Repeats a round at a fixed pace. One that takes longer than the pace delays the next and is never joined by it; a
 * failed one is said once until one succeeds again.
 */
export class Rounds {
  readonly #parts: RoundsParts;
  readonly #stop = new AbortController();
  readonly #loop: Promise<void>;
  #isFailing = false;

  /** Starts at once. */
  constructor(parts: RoundsParts) {
    this.#parts = parts;
    this.#loop = this.#run();
  }

  /** Resolves when the round that runs is over. Idempotent. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error(`${this.#parts.name} stops`));
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, intervalMs, firstPauseMs = Math.min(FIRST_PAUSE_MS, intervalMs) } = this.#parts;
    let dueMs = clock.monotonicMs() + firstPauseMs;
    for (;;) {
      try {
        await clock.sleep(Math.max(0, dueMs - clock.monotonicMs()), this.#stop.signal);
      } catch {
        return;
      }
      await this.#once();
      const nowMs = clock.monotonicMs();
      // A timer may fire a little early: the moment that was due has been.
      dueMs = this.#parts.onGrid
        ? (Math.floor(Math.max(dueMs, nowMs) / intervalMs) + 1) * intervalMs
        : Math.max(dueMs + intervalMs, nowMs);
    }
  }

  async #once(): Promise<void> {
    const { name, round, onRound, clock, logger } = this.#parts;
    const startedAtMs = clock.monotonicMs();
    const durationMs = () => clock.monotonicMs() - startedAtMs;
    try {
      await round();
      if (this.#isFailing) logger.info('works again', { name });
      this.#isFailing = false;
      onRound?.({ error: null, durationMs: durationMs() });
    } catch (error) {
      if (!this.#isFailing)
        logger.warn('failed; tried again with the next round', { name, error: messageOf(error) });
      this.#isFailing = true;
      onRound?.({ error: nameOf(error), durationMs: durationMs() });
    }
  }
}
