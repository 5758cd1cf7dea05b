import type { StreamField } from './event-encoder.js';

/** One encoded event on its way out. */
export interface EventDelivery {
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

/** Carries encoded events to managers; implemented by `stores/RedisEvents`. */
export interface EventTransport {
  /** The stream first, then the channel. Rejects when it is not certain that both have it. */
  deliver(delivery: EventDelivery): Promise<void>;
}
