import { deferred } from '../../core/async.js';
import type { Deferred } from '../../core/async.js';
import { hasCode } from '../../core/errors.js';

/** What became of a message: handed to ZeroMQ, or dropped and why. */
export type SendOutcome = 'sent' | 'queue-full' | 'unreachable' | 'closed';
export type OnOutcome = (outcome: SendOutcome) => void;

export interface OutboxOptions {
  /** Hands one multipart message to the socket, at once or not at all: rejects with `EAGAIN` when it must wait. */
  readonly write: (frames: readonly Uint8Array[]) => Promise<void>;
  readonly limits: OutboxLimits;
  /** Called when messages begin to pile up, and with every change until none waits any more. */
  readonly onBacklog?: (messages: number, bytes: number) => void;
}

export interface OutboxLimits {
  readonly maxQueuedPerPeer: number;
  readonly maxQueued: number;
  readonly maxQueuedBytesPerPeer: number;
  readonly maxQueuedBytes: number;
}

interface Item {
  readonly frames: readonly Uint8Array[];
  readonly bytes: number;
  readonly onOutcome: OnOutcome | undefined;
}

/** Messages for one peer; the first is with the socket or waits for its turn. */
interface Line {
  readonly peer: string;
  readonly items: Item[];
  bytes: number;
  /** Pause before the peer is tried again; 0 while it takes what it is given. */
  waitMs: number;
  /** Stops the retry that is due, if one is. */
  cancelRetry: (() => void) | undefined;
}

const FIRST_WAIT_MS = 1;
const LONGEST_WAIT_MS = 200;
/** Writes of one line between two turns of the event loop, so that a long line does not starve the receive loop. */
const WRITES_PER_TURN = 64;

/**
 * The only writer of a socket. A message goes straight to the socket when nothing waits for its peer. Every peer has
 * its own bounded line, so one that does not read holds up nobody else: ZeroMQ says "try again" for it, the others
 * go on. A peer that is gone is forgotten with its line.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #lines = new Map<string, Line>();
  #queued = 0;
  #queuedBytes = 0;
  #writes = 0;
  #backlogged = false;
  #closed = false;
  #idle: Deferred<void> | undefined;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Messages that wait, and the one that is just being handed over. */
  get queued(): number {
    return this.#queued;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Queues a message for one peer; `peer` is only a key. The outcome may be told before this returns. */
  send(peer: string, frames: readonly Uint8Array[], onOutcome?: OnOutcome): void {
    if (this.#closed) {
      onOutcome?.('closed');
      return;
    }
    const item: Item = { frames, bytes: bytesOf(frames), onOutcome };
    const line = this.#lines.get(peer);
    if (this.#isFull(line, item.bytes)) {
      onOutcome?.('queue-full');
      return;
    }
    this.#queued += 1;
    this.#queuedBytes += item.bytes;
    if (line) {
      line.items.push(item);
      line.bytes += item.bytes;
      this.#report();
      return;
    }
    const fresh: Line = { peer, items: [item], bytes: item.bytes, waitMs: 0, cancelRetry: undefined };
    this.#lines.set(peer, fresh);
    this.#writeFirst(fresh);
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
    for (const line of [...this.#lines.values()]) this.#forget(line, 'closed');
  }

  /** A single message above the bytes of a line is let into an empty one, or it could never leave. */
  #isFull(line: Line | undefined, bytes: number): boolean {
    const { maxQueued, maxQueuedBytes, maxQueuedPerPeer, maxQueuedBytesPerPeer } = this.#options.limits;
    if (this.#queued >= maxQueued) return true;
    if (this.#queued > 0 && this.#queuedBytes + bytes > maxQueuedBytes) return true;
    if (!line) return false;
    return line.items.length >= maxQueuedPerPeer || line.bytes + bytes > maxQueuedBytesPerPeer;
  }

  #writeFirst(line: Line): void {
    const item = line.items[0];
    if (!item) return;
    try {
      this.#options.write(item.frames).then(
        () => {
          this.#onWritten(line, item);
        },
        (error: unknown) => {
          this.#onRefused(line, error);
        },
      );
    } catch (error) {
      // A closed socket throws before there is a promise.
      this.#onRefused(line, error);
    }
  }

  #onWritten(line: Line, item: Item): void {
    if (line.items[0] !== item) return;
    line.items.shift();
    line.bytes -= item.bytes;
    line.waitMs = 0;
    this.#taken(1, item.bytes);
    if (line.items.length === 0) this.#lines.delete(line.peer);
    else if (++this.#writes % WRITES_PER_TURN !== 0) this.#writeFirst(line);
    else {
      const next = setImmediate(() => {
        this.#writeFirst(line);
      });
      line.cancelRetry = () => {
        clearImmediate(next);
      };
    }
    item.onOutcome?.('sent');
  }

  #onRefused(line: Line, error: unknown): void {
    if (this.#lines.get(line.peer) !== line) return;
    if (!hasCode(error, 'EAGAIN')) {
      this.#forget(line, hasCode(error, 'EHOSTUNREACH') ? 'unreachable' : 'closed');
      return;
    }
    line.waitMs = Math.min(Math.max(line.waitMs * 2, FIRST_WAIT_MS), LONGEST_WAIT_MS);
    const retry = setTimeout(() => {
      this.#writeFirst(line);
    }, line.waitMs);
    line.cancelRetry = () => {
      clearTimeout(retry);
    };
    this.#report();
  }

  #forget(line: Line, outcome: SendOutcome): void {
    this.#lines.delete(line.peer);
    line.cancelRetry?.();
    const items = line.items.splice(0);
    this.#taken(items.length, line.bytes);
    for (const item of items) item.onOutcome?.(outcome);
  }

  #taken(count: number, bytes: number): void {
    this.#queued -= count;
    this.#queuedBytes -= bytes;
    if (this.#backlogged) this.#report();
    if (this.#queued > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }

  #report(): void {
    this.#backlogged = this.#queued > 0;
    this.#options.onBacklog?.(this.#queued, this.#queuedBytes);
  }
}

function bytesOf(frames: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const frame of frames) bytes += frame.length;
  return bytes;
}
