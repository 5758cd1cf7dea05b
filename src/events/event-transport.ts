import type { StreamField } from './event-encoder.js';

/** Carries encoded events to managers; implemented by `stores/RedisEvents`. */
export interface EventTransport {
  /** Appends to the stream that one consumer of each group reads. Rejects when that is not certain. */
  anycast(fields: readonly StreamField[]): Promise<void>;
  /** Sends to whoever listens; with a cache key, keeps the message for those who come late. */
  broadcast(message: string, cacheKey: string | null): Promise<void>;
}
