import type { Clock } from '../core/clock.js';
import type { AgentId } from '../core/ids.js';
import type { AgentEvent, EventSink } from './catalogue.js';

export interface PublishedEvent {
  /** Counts from 1 without gaps, over all agents of the process. */
  readonly sequence: number;
  readonly timestampMs: number;
  readonly source: AgentId;
  readonly event: AgentEvent;
}

const DEFAULT_CAPACITY = 10_000;

/**
 * The event bus of a node that stands alone: the last events in memory, and listeners in the same process. A
 * listener's failure is its own; it never reaches the publisher.
 */
export class LocalEventBus implements EventSink {
  readonly #clock: Clock;
  readonly #capacity: number;
  readonly #ring: PublishedEvent[] = [];
  readonly #listeners = new Set<(published: PublishedEvent) => void>();
  #sequence = 0;

  constructor(options: { readonly clock: Clock; readonly capacity?: number }) {
    this.#clock = options.clock;
    this.#capacity = options.capacity ?? DEFAULT_CAPACITY;
  }

  publish(source: AgentId, event: AgentEvent): Promise<void> {
    this.#sequence += 1;
    const published = { sequence: this.#sequence, timestampMs: this.#clock.nowMs(), source, event };
    this.#ring.push(published);
    if (this.#ring.length > this.#capacity) this.#ring.shift();
    for (const listener of this.#listeners)
      try {
        listener(published);
      } catch {
        // Listeners look after themselves.
      }
    return Promise.resolve();
  }

  /** Events after the given sequence number that are still kept, oldest first. */
  since(sequence: number): readonly PublishedEvent[] {
    return this.#ring.filter((published) => published.sequence > sequence);
  }

  /** Returns an unsubscribe function. */
  subscribe(listener: (published: PublishedEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
