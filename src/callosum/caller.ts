import { CancelledError, LimitExceededError, TimeoutError } from '../core/errors.js';
import { PeerClosedError, RemoteInternalError, RemoteUserError } from './errors.js';
import type { InvokeOptions, OrderKey, Serializer } from './peer-options.js';
import type { OnOutcome, SendOutcome } from './transport/outbox.js';
import { BODY_OVERHEAD_BYTES, createRequestId, requestKey } from './wire/message.js';
import type { Message, RequestId } from './wire/message.js';
import { sequenceNumbers } from './wire/serial-number.js';
import type { SerialNumbers } from './wire/serial-number.js';

export interface CallerOptions {
  readonly serializer: Serializer;
  readonly maxMessageBytes: number;
  /** Sends a message to one peer; never throws. */
  readonly send: (peer: string, message: Message, onOutcome?: OnOutcome) => void;
  /** How calls are numbered; default: 32 bits from 0, as in Python. For tests of what happens where numbers wrap. */
  readonly sequence?: { readonly numbers: SerialNumbers; readonly first: number };
}

interface Waiting {
  readonly method: string;
  resolve(payload: Uint8Array): void;
  reject(error: Error): void;
}

/** The calling half of a peer (spec/wire-protocol.md 2.6). */
export class Caller {
  readonly #options: CallerOptions;
  readonly #waiting = new Map<string, Waiting>();
  readonly #numbers: SerialNumbers;
  #nextSequence: number;
  #closed: PeerClosedError | undefined;

  constructor(options: CallerOptions) {
    this.#options = options;
    this.#numbers = options.sequence?.numbers ?? sequenceNumbers;
    this.#nextSequence = options.sequence?.first ?? 0;
  }

  async invoke(peer: string, method: string, body: unknown, options: InvokeOptions): Promise<unknown> {
    if (this.#closed) throw this.#closed;
    if (options.signal?.aborted === true) throw new CancelledError(`${method}: cancelled before it was sent`);
    const payload = this.#options.serializer.pack(body);
    const { maxMessageBytes } = this.#options;
    if (payload.length + BODY_OVERHEAD_BYTES > maxMessageBytes)
      throw new LimitExceededError(
        `${method}: the arguments have ${String(payload.length)} bytes, more than the ${String(maxMessageBytes)} of one message`,
      );
    const orderKey = orderKeyOf(options.orderKey ?? 'binary');
    return this.#options.serializer.unpack(await this.#request(peer, method, orderKey, payload, options));
  }

  #request(
    peer: string,
    method: string,
    orderKey: string | Uint8Array,
    payload: Uint8Array,
    { timeoutMs, signal }: InvokeOptions,
  ): Promise<Uint8Array> {
    const { id, key } = this.#freshId(peer, method, orderKey);
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      /** False when the call has ended already. */
      const end = (): boolean => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        return this.#waiting.delete(key);
      };
      const giveUp = (error: Error): void => {
        if (!end()) return;
        this.#options.send(peer, { type: 'CANCEL', id });
        reject(error);
      };
      const onAbort = (): void => {
        giveUp(new CancelledError(`${method}: cancelled`));
      };
      if (timeoutMs !== undefined)
        timer = setTimeout(() => {
          giveUp(new TimeoutError(`${method}: no result within ${String(timeoutMs)} ms`));
        }, timeoutMs);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.set(key, {
        method,
        resolve: (result) => {
          if (end()) resolve(result);
        },
        reject: (error) => {
          if (end()) reject(error);
        },
      });
      this.#options.send(peer, { type: 'FUNCTION', id, payload }, (outcome) => {
        if (outcome !== 'sent') this.#waiting.get(key)?.reject(unsent(method, outcome));
      });
    });
  }

  /** @returns false when nobody waits for this reply. */
  onReply(peer: string, message: Message): boolean {
    const waiting = this.#waiting.get(waitingKey(peer, message.id));
    if (!waiting) return false;
    const { method } = waiting;
    switch (message.type) {
      case 'RESULT':
        waiting.resolve(message.payload);
        break;
      case 'FAILURE':
        waiting.reject(new RemoteUserError(method, message.description));
        break;
      case 'ERROR':
        waiting.reject(new RemoteInternalError(method, message.description));
        break;
      default:
        waiting.reject(new CancelledError(`${method}: cancelled by the callee`));
    }
    return true;
  }

  /** Rejects everything that waits, and every call from now on. */
  close(): void {
    this.#closed ??= new PeerClosedError('the connection is closed');
    for (const waiting of [...this.#waiting.values()]) waiting.reject(this.#closed);
  }

  /** Numbers wrap, so after four billion calls the next one may still belong to a call that waits. */
  #freshId(peer: string, method: string, orderKey: string | Uint8Array): { id: RequestId; key: string } {
    for (;;) {
      const id = createRequestId(method, orderKey, this.#nextSequence);
      this.#nextSequence = this.#numbers.next(this.#nextSequence);
      const key = waitingKey(peer, id);
      if (!this.#waiting.has(key)) return { id, key };
    }
  }
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
