import type { Clock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { EngineContainers } from './engine-containers.js';
import type { EngineEvent } from './engine-schemas.js';

/** Events of the seconds before the first connection are asked for again; they cost a look each. */
const OVERLAP_SECONDS = 5;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

export interface EventFeedOptions {
  readonly containers: Pick<EngineContainers, 'events'>;
  /** Of containers that have it. */
  readonly label: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The engine listens again, before the first event: what was missed is found out now. A failure is one of the feed. */
  readonly onConnect: () => Promise<void>;
  readonly onEvent: (event: EngineEvent) => void;
}

/** One stream of the engine's events that is taken up again whenever it breaks, from the second of the last event on. */
export class EventFeed {
  readonly #options: EventFeedOptions;
  readonly #closing = new AbortController();
  #sinceSeconds: number;
  #isListening = false;
  #listening: Promise<void> | null = null;

  constructor(options: EventFeedOptions) {
    this.#options = options;
    this.#sinceSeconds = Math.floor(options.clock.nowMs() / 1000) - OVERLAP_SECONDS;
  }

  /** Events come at once when they happen, as far as is known. */
  get isListening(): boolean {
    return this.#isListening;
  }

  /** Listens until `close`. An engine that is away is waited for. */
  open(): void {
    this.#listening ??= this.#listen();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#listening;
  }

  async #listen(): Promise<void> {
    const { containers, label, clock, logger, onConnect } = this.#options;
    const { signal } = this.#closing;
    let pauseMs = FIRST_PAUSE_MS;
    let complained = false;
    const closed = () => signal.aborted;
    while (!closed()) {
      const attempt = new AbortController();
      try {
        const both = AbortSignal.any([signal, attempt.signal]);
        const events = await containers.events(label, this.#sinceSeconds, both);
        await onConnect();
        pauseMs = FIRST_PAUSE_MS;
        if (complained) logger.info('the container engine is back');
        complained = false;
        this.#isListening = true;
        for await (const event of events) this.#hear(event);
        if (!closed()) logger.warn('the container engine has ended its stream of events');
      } catch (error) {
        if (closed()) return;
        if (!complained)
          logger.warn('the container engine cannot be listened to', { error: messageOf(error) });
        complained = true;
      } finally {
        this.#isListening = false;
        attempt.abort();
      }
      await clock.sleep(pauseMs, signal).catch(() => undefined);
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    }
  }

  #hear(event: EngineEvent): void {
    this.#sinceSeconds = Math.max(this.#sinceSeconds, event.time);
    this.#options.onEvent(event);
  }
}
