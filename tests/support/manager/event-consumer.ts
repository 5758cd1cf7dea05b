import { Redis } from 'ioredis';
import { createCodec } from '../../../src/codec/index.js';
import type { ManagerVersion } from '../../../src/config/types.js';
import { messageOf } from '../../../src/core/errors.js';
import { argsOf } from './event-fields.js';

/** One event as a manager reads it (spec/events-and-stores.md 3); of 26.x the fields in the order of the 25.17 tuple. */
export interface ReceivedEvent {
  readonly name: string;
  /** The agent, if an agent sent it. */
  readonly source: string;
  readonly args: readonly unknown[];
}

/** The same as it came, for another reader: pairs of field and base64 of the stream, or the channel's message. */
export interface RawEvent {
  readonly name: string;
  readonly anycast: readonly (readonly [string, string])[] | null;
  readonly broadcast: string | null;
}

interface Listeners {
  readonly onAnycast: (event: ReceivedEvent) => void;
  readonly onBroadcast: (event: ReceivedEvent) => void;
}

type Fields = Readonly<Record<string, Buffer | undefined>>;

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
  readonly raw: RawEvent[] = [];
  readonly #line: ManagerVersion;
  readonly #listeners: Listeners;
  readonly #stream: Redis;
  readonly #channel: Redis;
  #reading: Promise<void> = Promise.resolve();
  #isClosed = false;

  private constructor(port: number, listeners: Listeners, line: ManagerVersion) {
    this.#line = line;
    this.#listeners = listeners;
    this.#stream = new Redis({ port, db: 4 });
    this.#channel = new Redis({ port, db: 4 });
    for (const connection of [this.#stream, this.#channel]) connection.on('error', () => undefined);
  }

  /** Resolves when nothing that is sent from now on can be missed. */
  static async open(
    port: number,
    listeners: Listeners,
    line: ManagerVersion = '25.17',
  ): Promise<EventConsumer> {
    const consumer = new EventConsumer(port, listeners, line);
    await consumer.#stream.xgroup('CREATE', STREAM, GROUP, '$', 'MKSTREAM');
    consumer.#channel.on('message', (_: string, text: string) => {
      consumer.#take('a broadcast', () => {
        const message = JSON.parse(text) as Record<string, string>;
        consumer.raw.push({ name: message['name'] ?? '', anycast: null, broadcast: text });
        const fields = Object.entries(message).map(([name, value]): [string, Buffer] => [
          name,
          Buffer.from(value, name === 'args' ? 'base64' : 'utf8'),
        ]);
        listeners.onBroadcast(readEvent(Object.fromEntries(fields), line));
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
      for (const [id, flat] of entriesOf(answer)) {
        this.#take(`entry ${String(id)}`, () => {
          const pairs = flat.flatMap((text, at): [string, Buffer][] =>
            at % 2 === 0 ? [[text.toString(), flat[at + 1] ?? Buffer.of()]] : [],
          );
          const fields: Fields = Object.fromEntries(pairs);
          this.raw.push({
            name: String(fields['name']),
            anycast: pairs.map(([name, value]) => [name, value.toString('base64')]),
            broadcast: null,
          });
          this.#listeners.onAnycast(readEvent(fields, this.#line));
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

function readEvent(fields: Fields, line: ManagerVersion): ReceivedEvent {
  const [name, source] = [fields['name']?.toString(), fields['source']?.toString()];
  const body = fields[line === '25.17' ? 'args' : 'payload'];
  if (name === undefined || source === undefined || body === undefined)
    throw new Error(`no name, source or body: ${String(name)}, ${String(source)}`);
  if (line === '26.9')
    return { name, source, args: argsOf(name, JSON.parse(body.toString()) as Record<string, unknown>) };
  const metadata = JSON.parse(fields['metadata']?.toString() ?? '{}') as object;
  const unknown = Object.keys(metadata).filter((key) => !METADATA_KEYS.has(key));
  if (unknown.length > 0) throw new Error(`${name}: metadata has ${unknown.join(', ')}`);
  const values = codec.unpack(body);
  if (!Array.isArray(values)) throw new Error(`${name}: args are no array`);
  return { name, source, args: values };
}

/** `[[stream, [[id, fields]]]]`, null when nothing came. */
function entriesOf(answer: unknown): readonly [id: Buffer, fields: readonly Buffer[]][] {
  const streams = answer as readonly [Buffer, [Buffer, Buffer[]][]][] | null;
  return streams?.[0]?.[1] ?? [];
}
