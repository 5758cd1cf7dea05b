import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { DeliveryNeeds, DeliveryOutcome } from './event-transport.js';
import type { Importance } from './wire/delivery.js';

interface ManagerPaceParts {
  /** Has this daemon ever met a group of managers, in an earlier process perhaps? */
  readonly hasSeenManagers: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Unread entries from which on something waits. The stream keeps 128: what lies between leaves room for heartbeats
 * and for those who look at nothing, an agent of the original or a manager.
 */
const UNREAD_BELOW: Readonly<Record<Importance, number>> = { lifecycle: 96, report: 124 };

/** How long something waits. Unread entries: since managers last read anything. */
const PATIENCE_MS = { unread: 3_600_000, 'no-group': 30_000 } as const;

const PAUSE_MS = { first: 50, most: 1000 } as const;

const REASONS = {
  unread:
    'managers have many events left to read: further ones wait, so that none is pushed out of the stream',
  'no-group': 'no manager reads the stream of events at present: lifecycle events wait for one',
} as const;

/**
 * Keeps events back while managers cannot get them (docs/decisions/0012): while the stream is nearly full of what they
 * have not read, and while the group that they read as is not there though it once was. Never for ever: whoever waits
 * in vain is sent all the same.
 */
export class ManagerPace {
  readonly #clock: Clock;
  readonly #logger: Logger;
  #hasSeenManagers: boolean;
  /** The wait that is going on. */
  #wait: { readonly for: 'unread' | 'no-group'; readonly position: string; readonly sinceMs: number } | null =
    null;
  #pauseMs: number = PAUSE_MS.first;
  /** What is waited for no more, until managers are seen to read. */
  #givenUp: { readonly for: 'unread' | 'no-group'; readonly position: string } | null = null;

  constructor(parts: ManagerPaceParts) {
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#hasSeenManagers = parts.hasSeenManagers;
  }

  needs(importance: Importance): DeliveryNeeds {
    return {
      unreadBelow: this.#givenUp?.for === 'unread' ? null : UNREAD_BELOW[importance],
      needsGroup: importance === 'lifecycle' && this.#hasSeenManagers && this.#givenUp?.for !== 'no-group',
    };
  }

  /** The first event is held back for this reason. How long until it should be tried again, ms. */
  held(reason: 'unread' | 'no-group', position: string): number {
    const nowMs = this.#clock.monotonicMs();
    if (this.#wait?.for !== reason || this.#wait.position !== position) {
      this.#wait = { for: reason, position, sinceMs: nowMs };
      this.#pauseMs = PAUSE_MS.first;
    }
    const waitedMs = nowMs - this.#wait.sinceMs;
    if (waitedMs >= PATIENCE_MS[reason]) {
      this.#logger.warn('events have waited for managers in vain and are sent all the same', {
        waitedFor: reason,
        waitedMs,
      });
      this.#wait = null;
      this.#givenUp = { for: reason, position };
      return 0;
    }
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(pauseMs * 2, PAUSE_MS.most);
    // Not for managers that are only slow: they read on between two attempts.
    if (this.#pauseMs === PAUSE_MS.most && pauseMs < PAUSE_MS.most) this.#logger.info(REASONS[reason]);
    return pauseMs;
  }

  /** The first event has left. Was it the first time that managers were seen? */
  taken({ hasGroup, position }: DeliveryOutcome): boolean {
    this.#wait = null;
    if (hasGroup !== true) return false;
    if (this.#givenUp?.for === 'no-group' || this.#givenUp?.position !== position) this.#givenUp = null;
    const isNews = !this.#hasSeenManagers;
    this.#hasSeenManagers = true;
    return isNews;
  }
}
