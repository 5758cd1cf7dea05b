import type { Codec } from '../codec/index.js';
import type { AgentId } from '../core/ids.js';
import type { AgentEvent } from './catalogue.js';
import { argsFor25 } from './wire/args-25.js';
import { type Delivery, EVENT_KINDS } from './wire/delivery.js';
import { payloadFor26 } from './wire/payload-26.js';

/** One event in the bytes of one manager line, ready for stream and channel. */
export interface EncodedEvent {
  readonly name: AgentEvent['name'];
  readonly delivery: Delivery;
  /** Fields of the stream entry, in order; absent when the event is only broadcast. */
  readonly anycast: readonly StreamField[] | null;
  /** The channel's message; absent when the event is only anycast. */
  readonly broadcast: string | null;
  /** Where the last broadcast of this kind is kept for late listeners. */
  readonly cacheKey: string | null;
}

export type StreamField = readonly [name: string, value: Buffer];

export interface EventEncoderOptions {
  readonly managerVersion: '25.17' | '26.9';
  readonly codec: Codec;
}

const METADATA = {
  '25.17': JSON.stringify({ request_id: null, user: null }),
  '26.9': JSON.stringify({ request_id: null, user: null, triggered_user: null }),
} as const;

/** Encodes events as spec/events-and-stores.md 3.2, 3.3 and 3.9 say. Stateless. */
export class EventEncoder {
  readonly #version: '25.17' | '26.9';
  readonly #codec: Codec;

  constructor(options: EventEncoderOptions) {
    this.#version = options.managerVersion;
    this.#codec = options.codec;
  }

  /** Null for an event that this line of managers does not know. */
  encode(source: AgentId, event: AgentEvent): EncodedEvent | null {
    const body = this.#body(source, event);
    if (!body) return null;
    const { delivery } = EVENT_KINDS[event.name];
    const metadata = METADATA[this.#version];
    const anycast: readonly StreamField[] = [
      ['name', Buffer.from(event.name)],
      ['source', Buffer.from(source)],
      [body.field, body.bytes],
      ['metadata', Buffer.from(metadata)],
    ];
    const broadcast = JSON.stringify({ name: event.name, source, [body.field]: body.text, metadata });
    return {
      name: event.name,
      delivery,
      anycast: delivery === 'cached-broadcast' || delivery === 'broadcast' ? null : anycast,
      broadcast: delivery === 'anycast' ? null : broadcast,
      cacheKey: 'taskId' in event ? `bgtask.${event.taskId}` : null,
    };
  }

  #body(
    source: AgentId,
    event: AgentEvent,
  ): { readonly field: 'args' | 'payload'; readonly bytes: Buffer; readonly text: string } | null {
    if (this.#version === '26.9') {
      const payload = payloadFor26(event, source);
      if (!payload) return null;
      const text = JSON.stringify(payload);
      return { field: 'payload', bytes: Buffer.from(text), text };
    }
    const args = argsFor25(event, source, this.#codec);
    if (!args) return null;
    const bytes = Buffer.from(this.#codec.pack(args));
    return { field: 'args', bytes, text: bytes.toString('base64') };
  }
}
