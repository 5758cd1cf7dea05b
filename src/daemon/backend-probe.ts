import type { KernelBackend } from '../backends/backend.js';
import { within } from '../core/async.js';
import { systemClock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { Rounds } from '../stats/index.js';

/** spec/release-25.17.1.md, health probe */
const INTERVAL_MS = 60_000;
const TIMEOUT_MS = 5000;

/** Asks the container engine from time to time whether it answers. */
export class BackendProbe {
  readonly #rounds: Rounds;
  #failure: string | null = null;
  #checkedAtMs = systemClock.nowMs();

  /** Starts at once; the backend is open, so until the first answer it is well. */
  constructor(options: {
    readonly backend: Pick<KernelBackend, 'list'>;
    readonly agentId: AgentId;
    readonly logger: Logger;
    readonly intervalMs?: number;
  }) {
    const { backend, agentId, logger, intervalMs = INTERVAL_MS } = options;
    this.#rounds = new Rounds({
      name: 'probe of the container engine',
      intervalMs,
      round: async () => {
        try {
          await within(backend.list(agentId), { timeoutMs: TIMEOUT_MS, what: 'the container engine' });
          this.#failure = null;
        } catch (error) {
          this.#failure = messageOf(error);
          throw error;
        } finally {
          this.#checkedAtMs = systemClock.nowMs();
        }
      },
      clock: systemClock,
      logger,
    });
  }

  /** Why it does not answer; null when it does. */
  get failure(): string | null {
    return this.#failure;
  }

  get checkedAtMs(): number {
    return this.#checkedAtMs;
  }

  stop(): Promise<void> {
    return this.#rounds.stop();
  }
}
