import { Redis } from 'ioredis';
import { createCodec } from '../../../src/codec/index.js';
import { messageOf } from '../../../src/core/errors.js';

/** One event as a 25.17 manager reads it (spec/events-and-stores.md 3). */
export interface ReceivedEvent {
  readonly name: string;
  /** The agent, if an agent sent it. */
  readonly source: string;
  readonly args: readonly unknown[];
}

interface Listeners {
  readonly onAnycast: (event: ReceivedEvent) => void;
  readonly onBroadcast: (event: ReceivedEvent) => void;
}

const STREAM = 'events';
const CHANNEL = 'events_all';
const GROUP = 'manager';
/** A 25.17 manager cannot read an entry whose metadata has more. */
const METADATA_KEYS = new Set(['request_id', 'user', 'user_id']);
const codec = createCodec();

/**
 * Reads the stream as the consumer group `manager` and the channel as a subscriber, and as strictly: what the original
 * could not read is a defect, kept for the test to see.
 */
export class EventConsumer {
  readonly defects: string[] = [];
  readonly #listeners: Listeners;
  readonly #stream: Redis;
  readonly #channel: Redis;
  #reading: Promise<void> = Promise.resolve();
  #isClosed = false;

  private constructor(port: number, listeners: Listeners) {
    this.#listeners = listeners;
    this.#stream = new Redis({ port, db: 4 });
    this.#channel = new Redis({ port, db: 4 });
    for (const connection of [this.#stream, this.#channel]) connection.on('error', () => undefined);
  }

  /** Resolves when nothing that is sent from now on can be missed. */
  static async open(port: number, listeners: Listeners): Promise<EventConsumer> {
    const consumer = new EventConsumer(port, listeners);
    await consumer.#stream.xgroup('CREATE', STREAM, GROUP, '$', 'MKSTREAM');
    consumer.#channel.on('message', (_: string, text: string) => {
      consumer.#take('a broadcast', () => {
        const { name, source, args, metadata } = JSON.parse(text) as Record<string, string>;
        listeners.onBroadcast(
          readEvent(name, source, args === undefined ? undefined : Buffer.from(args, 'base64'), metadata),
        );
      });
    });
    await consumer.#channel.subscribe(CHANNEL);
    consumer.#reading = consumer.#read().catch((error: unknown) => {
      consumer.defects.push(`the stream: ${messageOf(error)}`);
    });
    return consumer;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#reading;
    this.#stream.disconnect();
    this.#channel.disconnect();
  }

  async #read(): Promise<void> {
    while (!this.#isClosed) {
      const answer = await this.#stream.xreadgroupBuffer(
        'GROUP',
        GROUP,
        'test',
        'COUNT',
        64,
        'BLOCK',
        200,
        'STREAMS',
        STREAM,
        '>',
      );
      for (const [id, fields] of entriesOf(answer)) {
        this.#take(`entry ${String(id)}`, () => {
          const field = (name: string) => {
            const place = fields.findIndex((text, at) => at % 2 === 0 && text.toString() === name);
            return place < 0 ? undefined : fields[place + 1];
          };
          const text = (name: string) => field(name)?.toString();
          this.#listeners.onAnycast(readEvent(text('name'), text('source'), field('args'), text('metadata')));
        });
        await this.#stream.xack(STREAM, GROUP, id);
      }
    }
  }

  #take(what: string, handle: () => void): void {
    try {
      handle();
    } catch (error) {
      this.defects.push(`${what}: ${messageOf(error)}`);
    }
  }
}

function readEvent(
  name: string | undefined,
  source: string | undefined,
  args: Uint8Array | undefined,
  metadata: string | undefined,
): ReceivedEvent {
  if (name === undefined || source === undefined || args === undefined)
    throw new Error(`no name, source or args: ${String(name)}, ${String(source)}`);
  const unknown = Object.keys(JSON.parse(metadata ?? '{}') as object).filter(
    (key) => !METADATA_KEYS.has(key),
  );
  if (unknown.length > 0) throw new Error(`${name}: metadata has ${unknown.join(', ')}`);
  const values = codec.unpack(args);
  if (!Array.isArray(values)) throw new Error(`${name}: args are no array`);
  return { name, source, args: values };
}

/** `[[stream, [[id, fields]]]]`, null when nothing came. */
function entriesOf(answer: unknown): readonly [id: Buffer, fields: readonly Buffer[]][] {
  const streams = answer as readonly [Buffer, [Buffer, Buffer[]][]][] | null;
  return streams?.[0]?.[1] ?? [];
}
