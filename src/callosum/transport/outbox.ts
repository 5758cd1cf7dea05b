import { deferred } from '../../core/async.js';
import type { Deferred } from '../../core/async.js';
import { hasCode } from '../../core/errors.js';

/** What became of a message: handed to ZeroMQ, or dropped and why. */
export type SendOutcome = 'sent' | 'queue-full' | 'unreachable' | 'closed';

export interface OutboxOptions {
  /** Hands one multipart message to the socket, at once or not at all: rejects with `EAGAIN` when it must wait. */
  readonly write: (frames: readonly Uint8Array[]) => Promise<void>;
  readonly maxQueuedPerPeer: number;
  readonly maxQueued: number;
}

interface Item {
  readonly frames: readonly Uint8Array[];
  readonly outcome: Deferred<SendOutcome>;
}

interface Line {
  readonly items: Item[];
  /** Monotonic time before which the peer is not tried again, and the wait that led to it. */
  retryAtMs: number;
  waitMs: number;
}

const FIRST_WAIT_MS = 1;
const LONGEST_WAIT_MS = 50;
/** Writes between two turns of the event loop, so that a long queue does not starve the receive loop. */
const WRITES_PER_TURN = 64;

/**
 * The only writer of a socket. Every peer has its own bounded line, so one that does not read holds up nobody else:
 * ZeroMQ says "try again" for it, the others go on. A peer that is gone is forgotten with its line.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #lines = new Map<string, Line>();
  #queued = 0;
  #running = false;
  #closed = false;
  #wake: (() => void) | undefined;
  #idle: Deferred<void> | undefined;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Messages that wait. */
  get queued(): number {
    return this.#queued;
  }

  /** Queues a message for one peer; `peer` is only a key. The promise never rejects. */
  send(peer: string, frames: readonly Uint8Array[]): Promise<SendOutcome> {
    if (this.#closed) return Promise.resolve('closed');
    const line = this.#lines.get(peer) ?? { items: [], retryAtMs: 0, waitMs: 0 };
    if (line.items.length >= this.#options.maxQueuedPerPeer || this.#queued >= this.#options.maxQueued)
      return Promise.resolve('queue-full');
    const outcome = deferred<SendOutcome>();
    line.items.push({ frames, outcome });
    this.#lines.set(peer, line);
    this.#queued += 1;
    if (this.#running) this.#wake?.();
    else void this.#run();
    return outcome.promise;
  }

  /** Resolves once nothing waits any more. */
  flushed(): Promise<void> {
    if (this.#queued === 0) return Promise.resolve();
    this.#idle ??= deferred<void>();
    return this.#idle.promise;
  }

  /** Drops what still waits. */
  close(): void {
    this.#closed = true;
    for (const peer of [...this.#lines.keys()]) this.#forget(peer, 'closed');
    this.#wake?.();
  }

  async #run(): Promise<void> {
    this.#running = true;
    let writes = 0;
    while (this.#lines.size > 0) {
      let progress = false;
      for (const [peer, line] of [...this.#lines]) {
        if (line.retryAtMs > performance.now()) continue;
        if (await this.#writeNext(peer, line)) progress = true;
        writes += 1;
        if (writes % WRITES_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      if (!progress && this.#lines.size > 0) await this.#waitForRetry();
    }
    this.#running = false;
  }

  /** Writes the first message of a line; false when the peer has to be tried again later. */
  async #writeNext(peer: string, line: Line): Promise<boolean> {
    const item = line.items[0];
    if (!item) return false;
    try {
      await this.#options.write(item.frames);
    } catch (error) {
      if (hasCode(error, 'EAGAIN')) {
        line.waitMs = Math.min(Math.max(line.waitMs * 2, FIRST_WAIT_MS), LONGEST_WAIT_MS);
        line.retryAtMs = performance.now() + line.waitMs;
        return false;
      }
      this.#forget(peer, hasCode(error, 'EHOSTUNREACH') ? 'unreachable' : 'closed');
      return true;
    }
    line.waitMs = 0;
    if (line.items[0] === item) {
      line.items.shift();
      this.#taken(1);
      if (line.items.length === 0) this.#lines.delete(peer);
    }
    item.outcome.resolve('sent');
    return true;
  }

  #forget(peer: string, outcome: SendOutcome): void {
    const line = this.#lines.get(peer);
    if (!line) return;
    this.#lines.delete(peer);
    const items = line.items.splice(0);
    this.#taken(items.length);
    for (const item of items) item.outcome.resolve(outcome);
  }

  #taken(count: number): void {
    this.#queued -= count;
    if (this.#queued > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }

  async #waitForRetry(): Promise<void> {
    const soonest = Math.min(...[...this.#lines.values()].map((line) => line.retryAtMs));
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(1, soonest - performance.now()));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }
}
