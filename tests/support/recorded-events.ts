import type { AgentId } from '../../src/core/ids.js';
import type { AgentEvent, EventSink } from '../../src/events/catalogue.js';

/** Keeps what an agent announced, in order. */
export class RecordedEvents implements EventSink {
  readonly published: { readonly source: AgentId; readonly event: AgentEvent }[] = [];

  publish(source: AgentId, event: AgentEvent): Promise<void> {
    this.published.push({ source, event });
    return Promise.resolve();
  }

  get names(): readonly string[] {
    return this.published.map(({ event }) => event.name);
  }

  named<Name extends AgentEvent['name']>(name: Name): readonly EventOf<Name>[] {
    return this.published.flatMap(({ event }) => (event.name === name ? [event as EventOf<Name>] : []));
  }
}

/** The member of the union that has this name, also where several names share one. */
type EventOf<Name extends AgentEvent['name']> = AgentEvent extends infer Event
  ? Event extends { readonly name: infer Names }
    ? Name extends Names
      ? Event & { readonly name: Name }
      : never
    : never
  : never;
