import type { StreamField } from './event-encoder.js';

/** What the stream must be like for an entry to go in; see docs/decisions/0012. */
export interface DeliveryNeeds {
  /** Managers have fewer entries than this left to read; null: any number. */
  readonly unreadBelow: number | null;
  /** Managers read the stream at all: an entry that is older than their group is never seen by it. */
  readonly needsGroup: boolean;
}

/** One encoded event on its way out. */
export interface EventDelivery extends DeliveryNeeds {
  /** The same in every attempt, also of a later process: what was taken under it is not taken again. */
  readonly token: string;
  /** A repeat must not be seen. Otherwise it only wastes a place: a heartbeat, say. */
  readonly once: boolean;
  /** Goes to the stream that one consumer of each group reads. */
  readonly anycast: readonly StreamField[] | null;
  /** Goes to whoever listens. */
  readonly broadcast: string | null;
  /** Where the broadcast is kept for those who come late. */
  readonly cacheKey: string | null;
}

export interface DeliveryOutcome {
  /** Which need was not met: then nothing was sent. Null: stream and channel have it. */
  readonly held: 'unread' | 'no-group' | null;
  /** Do managers read the stream? Null where that was not asked or cannot be known. */
  readonly hasGroup: boolean | null;
  /** Up to where they have read; changes as they go on. Empty where it is not known. */
  readonly position: string;
}

/** The `code` of an error that says: this entry is refused for its own sake, now and ever. */
export const ENTRY_REFUSED = 'ENTRY_REFUSED';

/** Carries encoded events to managers; implemented by `stores/RedisEvents`. */
export interface EventTransport {
  /**
   * The stream first, then the channel. Rejects when it is not certain that both have it: with the code
   * `ENTRY_REFUSED` when no repeat can help.
   */
  deliver(delivery: EventDelivery): Promise<DeliveryOutcome>;
}
