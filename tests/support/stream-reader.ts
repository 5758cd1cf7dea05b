import { Redis } from 'ioredis';
import { createCodec } from '../../src/codec/index.js';
import { eventually } from './eventually.js';
import { argsOf } from './manager/event-fields.js';

interface SeenEvent {
  readonly name: string;
  readonly source: string;
  readonly args: readonly unknown[];
}

/** Reads the stream of events to its end, again and again, so that what is trimmed away meanwhile is known. */
export class StreamReader {
  readonly events: SeenEvent[] = [];
  readonly #client: Redis;
  readonly #codec = createCodec();
  #last = '-';

  constructor(options: { readonly port: number; readonly password?: string }) {
    this.#client = new Redis({ ...options, db: 4, protocol: 2 });
    this.#client.on('error', () => undefined);
  }

  close(): void {
    this.#client.disconnect();
  }

  /** Waits for a heartbeat behind the named event: all that was sent before has come by then. */
  async whenHeartbeatAfter(name: string, kernelId?: string): Promise<void> {
    await eventually(
      async () => {
        await this.#read();
        const place = this.events.findIndex(
          (event) => event.name === name && (kernelId === undefined || event.args[0] === kernelId),
        );
        if (place < 0) throw new Error(`no ${name} yet`);
        if (!this.events.slice(place).some((event) => event.name === 'agent_heartbeat'))
          throw new Error('no heartbeat yet');
      },
      { timeoutMs: 60_000, intervalMs: 50 },
    );
  }

  /** Waits for a named event that is not among the first ones. */
  async whenEventAfter(count: number, name: string): Promise<void> {
    await eventually(
      async () => {
        await this.#read();
        if (!this.events.slice(count).some((event) => event.name === name)) throw new Error(`no ${name} yet`);
      },
      { timeoutMs: 60_000, intervalMs: 50 },
    );
  }

  /** Names of a kernel's events, in order. */
  lifeOf(kernelId: string): readonly string[] {
    return this.events
      .filter(({ name, args }) => name.startsWith('kernel_') && args[0] === kernelId)
      .map(({ name }) => name);
  }

  /** Of either line. */
  #argsOf(name: string, field: (name: string) => Buffer | undefined): readonly unknown[] {
    const payload = field('payload');
    if (payload) return argsOf(name, JSON.parse(payload.toString()) as Record<string, unknown>);
    return this.#codec.unpack(field('args') ?? Buffer.of(0x90)) as unknown[];
  }

  async #read(): Promise<void> {
    const from = this.#last === '-' ? '-' : `(${this.#last}`;
    for (const [id, fields] of await this.#client.xrangeBuffer('events', from, '+')) {
      const field = (name: string) => {
        const place = fields.findIndex((text, at) => at % 2 === 0 && text.toString() === name);
        return place < 0 ? undefined : fields[place + 1];
      };
      this.#last = id.toString();
      this.events.push({
        name: String(field('name')),
        source: String(field('source')),
        args: this.#argsOf(String(field('name')), field),
      });
    }
  }
}
