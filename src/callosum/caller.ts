import { deferred, within } from '../core/async.js';
import type { Deferred } from '../core/async.js';
import { CancelledError, LimitExceededError } from '../core/errors.js';
import { PeerClosedError, RemoteInternalError, RemoteUserError } from './errors.js';
import type { InvokeOptions, OrderKey, Serializer } from './peer-options.js';
import type { SendOutcome } from './transport/outbox.js';
import { createRequestId, requestKey } from './wire/message.js';
import type { Message, RequestId } from './wire/message.js';
import { sequenceNumbers } from './wire/serial-number.js';

export interface CallerOptions {
  readonly serializer: Serializer;
  /** Sends a message to one peer; never rejects. */
  readonly send: (peer: string, message: Message) => Promise<SendOutcome>;
}

interface Waiting {
  readonly method: string;
  readonly reply: Deferred<Uint8Array>;
  settled: boolean;
}

/** The calling half of a peer (spec/wire-protocol.md 2.6). */
export class Caller {
  readonly #options: CallerOptions;
  readonly #waiting = new Map<string, Waiting>();
  #nextSequence = 0;
  #closed: PeerClosedError | undefined;

  constructor(options: CallerOptions) {
    this.#options = options;
  }

  async invoke(peer: string, method: string, body: unknown, options: InvokeOptions): Promise<unknown> {
    if (this.#closed) throw this.#closed;
    if (options.signal?.aborted === true) throw new CancelledError(`${method}: cancelled before it was sent`);
    const payload = this.#options.serializer.pack(body);
    const id = createRequestId(method, orderKeyOf(options.orderKey ?? 'binary'), this.#takeSequence());
    const key = waitingKey(peer, id);
    const waiting: Waiting = { method, reply: deferred(), settled: false };
    this.#waiting.set(key, waiting);
    void this.#options.send(peer, { type: 'FUNCTION', id, payload }).then((outcome) => {
      if (outcome !== 'sent')
        settle(waiting, () => {
          waiting.reply.reject(unsent(method, outcome));
        });
    });
    try {
      const result = await within(waiting.reply.promise, {
        timeoutMs: options.timeoutMs,
        signal: options.signal,
        what: method,
      });
      return this.#options.serializer.unpack(result);
    } finally {
      this.#waiting.delete(key);
      // Our own time limit or signal, not the callee, has ended the call.
      if (!waiting.settled) void this.#options.send(peer, { type: 'CANCEL', id });
    }
  }

  /** @returns false when nobody waits for this reply. */
  onReply(peer: string, message: Message): boolean {
    const waiting = this.#waiting.get(waitingKey(peer, message.id));
    if (!waiting || waiting.settled) return false;
    const { method, reply } = waiting;
    settle(waiting, () => {
      switch (message.type) {
        case 'RESULT':
          reply.resolve(message.payload);
          break;
        case 'FAILURE':
          reply.reject(new RemoteUserError(method, message.description));
          break;
        case 'ERROR':
          reply.reject(new RemoteInternalError(method, message.description));
          break;
        default:
          reply.reject(new CancelledError(`${method}: cancelled by the callee`));
      }
    });
    return true;
  }

  /** Rejects everything that waits, and every call from now on. */
  close(): void {
    this.#closed ??= new PeerClosedError('the connection is closed');
    for (const waiting of this.#waiting.values()) {
      const closed = this.#closed;
      settle(waiting, () => {
        waiting.reply.reject(closed);
      });
    }
  }

  #takeSequence(): number {
    const sequence = this.#nextSequence;
    this.#nextSequence = sequenceNumbers.next(sequence);
    return sequence;
  }
}

function settle(waiting: Waiting, how: () => void): void {
  if (waiting.settled) return;
  waiting.settled = true;
  how();
}

function unsent(method: string, outcome: SendOutcome): Error {
  switch (outcome) {
    case 'queue-full':
      return new LimitExceededError(`${method}: too many messages wait for this peer`, { retryable: true });
    default:
      return new PeerClosedError(`${method}: the peer is ${outcome}`, { retryable: true });
  }
}

function orderKeyOf(key: OrderKey): string | Uint8Array {
  if (key === 'text') return '';
  return key === 'binary' ? new Uint8Array(0) : key;
}

function waitingKey(peer: string, id: RequestId): string {
  return `${peer}/${requestKey(id)}`;
}
