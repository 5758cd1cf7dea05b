import { NO_PAYLOAD, RESPONSE } from './messages.js';

/** Hands one message to the socket; resolves when the socket took it, however long the agent stays away. */
export type Write = (frames: [string, Uint8Array]) => Promise<void>;

interface Waiting {
  readonly type: string;
  readonly parts: Uint8Array[];
  length: number;
}

/** Above this the pipes of user processes are no longer read, so that the processes themselves wait. */
const CONGESTED_BYTES = 1 << 20;
const CONGESTED_MESSAGES = 256;
/** Neighbouring chunks of one stream travel together up to this size. */
const JOINED_BYTES = 1 << 16;

/**
 * The only writer of the socket towards the agent. Messages leave in the order in which they were posted. Nothing is
 * ever dropped: while the agent is away, whoever produces output has to look at `congested` and wait.
 */
export class Outgoing {
  readonly #write: Write;
  readonly #queue: Waiting[] = [];
  #queuedBytes = 0;
  #running = false;
  #closed = false;
  #whenClear: (() => void)[] = [];

  constructor(write: Write) {
    this.#write = write;
  }

  get congested(): boolean {
    return this.#queuedBytes > CONGESTED_BYTES || this.#queue.length > CONGESTED_MESSAGES;
  }

  post(type: string, payload: Uint8Array = NO_PAYLOAD): void {
    if (this.#closed) return;
    const last = this.#queue.at(-1);
    const isStream = type === RESPONSE.stdout || type === RESPONSE.stderr;
    if (isStream && last?.type === type && last.length + payload.length <= JOINED_BYTES) {
      last.parts.push(payload);
      last.length += payload.length;
    } else this.#queue.push({ type, parts: [payload], length: payload.length });
    this.#queuedBytes += payload.length;
    if (!this.#running) void this.#run();
  }

  /** Resolves once the queue is short again. */
  clear(): Promise<void> {
    if (!this.congested || this.#closed) return Promise.resolve();
    return new Promise((resolve) => this.#whenClear.push(resolve));
  }

  /** Drops what still waits. */
  close(): void {
    this.#closed = true;
    this.#queue.length = 0;
    this.#release();
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      const [first = NO_PAYLOAD] = next.parts;
      try {
        await this.#write([next.type, next.parts.length === 1 ? first : Buffer.concat(next.parts)]);
      } catch {
        // Only a socket that closes refuses; then nothing is left to be said.
      }
      this.#queuedBytes -= next.length;
      if (!this.congested) this.#release();
    }
    this.#running = false;
  }

  #release(): void {
    for (const resolve of this.#whenClear.splice(0)) resolve();
  }
}
