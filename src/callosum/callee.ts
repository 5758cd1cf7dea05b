import { deferred, within } from '../core/async.js';
import type { Deferred } from '../core/async.js';
import {
  CancelledError,
  hasCode,
  isSpleniumError,
  LimitExceededError,
  messageOf,
  ValueError,
} from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { PeerClosedError, UnknownMethodError } from './errors.js';
import type { PeerMetrics } from './peer-metrics.js';
import type { CallHandler, ErrorDescriber, PeerLimits, Serializer } from './peer-options.js';
import type { Scheduler } from './scheduler.js';
import type { SendOutcome } from './transport/outbox.js';
import type { Message, RequestId } from './wire/message.js';
import { requestKey } from './wire/message.js';

export interface CalleeOptions {
  readonly handler: CallHandler;
  readonly serializer: Serializer;
  readonly scheduler: Scheduler;
  readonly limits: PeerLimits;
  readonly describeError: ErrorDescriber;
  /** Sends a message to one peer; never rejects. */
  readonly send: (peer: string, message: Message) => Promise<SendOutcome>;
  /** Label of the in-flight gauge. */
  readonly endpoint: string;
  readonly logger: Logger;
  readonly metrics: PeerMetrics;
}

/** One FUNCTION between its arrival and the moment its reply is with the socket. */
interface InFlight {
  readonly peer: string;
  readonly id: RequestId;
  readonly key: string;
  readonly controller: AbortController;
  started: boolean;
  cancelled: boolean;
  answered: boolean;
}

/**
 * The serving half of a peer. Every FUNCTION gets exactly one answer, whatever its handler does
 * (spec/wire-protocol.md 2.5 and 6).
 */
export class Callee {
  readonly #options: CalleeOptions;
  /** By peer and request id. A caller that repeats an id while its call runs gets two answers, as in Python. */
  readonly #inFlight = new Map<string, Set<InFlight>>();
  readonly #perPeer = new Map<string, number>();
  #total = 0;
  #draining = false;
  #idle: Deferred<void> | undefined;

  constructor(options: CalleeOptions) {
    this.#options = options;
  }

  /** Calls received and not yet answered. */
  get inFlight(): number {
    return this.#total;
  }

  onFunction(peer: string, id: RequestId, payload: Uint8Array): void {
    const refusal = this.#refusal(peer);
    if (refusal) {
      this.#reply(peer, { type: 'FAILURE', id, description: this.#options.describeError(refusal) });
      return;
    }
    let body: unknown;
    try {
      body = this.#options.serializer.unpack(payload);
    } catch (error) {
      this.#options.metrics.malformed.increment({ reason: 'payload' });
      this.#options.logger.warn('a call has an unreadable payload', {
        peer,
        method: id.method,
        error: messageOf(error),
      });
      this.onUnreadable(peer, id, isSpleniumError(error) ? error : new ValueError(messageOf(error)));
      return;
    }
    const call = this.#admit(peer, id);
    const orderKey = Buffer.from(id.rawOrderKey).toString('latin1');
    void this.#options.scheduler.run(orderKey, () => this.#execute(call, body));
  }

  /** Answers a FUNCTION whose header could be read but nothing more. */
  onUnreadable(peer: string, id: RequestId, error: unknown): void {
    this.#reply(peer, { type: 'ERROR', id, description: this.#options.describeError(error) });
  }

  /**
   * Aborts the call's signal. The answer is CANCELLED once the handler gives in; a handler that finishes all the
   * same is answered with what it did. A call that has not started is answered at once and never runs.
   */
  onCancel(peer: string, id: RequestId): void {
    for (const call of this.#inFlight.get(callKey(peer, id)) ?? []) {
      call.cancelled = true;
      call.controller.abort(new CancelledError(`${id.method}: cancelled by the caller`));
      if (!call.started) this.#answer(call, { type: 'CANCELLED', id });
    }
  }

  /**
   * Refuses new calls from now on, lets running ones finish for `drainMs`, then aborts the rest and answers for them.
   */
  async drain(drainMs: number): Promise<void> {
    this.#draining = true;
    if (drainMs > 0)
      await within(this.#whenIdle(), { timeoutMs: drainMs, what: 'drain' }).catch(() => undefined);
    const closed = new PeerClosedError('the server is shutting down', { retryable: true });
    for (const call of [...this.#inFlight.values()].flatMap((calls) => [...calls])) {
      call.controller.abort(closed);
      this.#answer(call, { type: 'FAILURE', id: call.id, description: this.#options.describeError(closed) });
    }
  }

  #refusal(peer: string): Error | undefined {
    const { maxInFlight, maxInFlightPerPeer } = this.#options.limits;
    if (this.#draining) return new PeerClosedError('the server is shutting down', { retryable: true });
    if (this.#total >= maxInFlight)
      return new LimitExceededError(`more than ${String(maxInFlight)} calls in flight`, { retryable: true });
    if ((this.#perPeer.get(peer) ?? 0) >= maxInFlightPerPeer)
      return new LimitExceededError(`more than ${String(maxInFlightPerPeer)} calls in flight from one peer`, {
        retryable: true,
      });
    return undefined;
  }

  async #execute(call: InFlight, body: unknown): Promise<void> {
    if (call.answered) return;
    call.started = true;
    const { handler, serializer } = this.#options;
    const { id, peer, controller } = call;
    let reply: Message;
    try {
      const result = await handler({ method: id.method, body, peer, signal: controller.signal });
      reply = { type: 'RESULT', id, payload: serializer.pack(result) };
    } catch (error) {
      reply = this.#replyTo(call, error);
    }
    this.#answer(call, reply);
  }

  #replyTo(call: InFlight, error: unknown): Message {
    const { id, cancelled } = call;
    // CANCELLED without a CANCEL would look to a Python caller as if its own task had been cancelled.
    if (cancelled && isCancellation(error)) return { type: 'CANCELLED', id };
    const type = hasCode(error, UnknownMethodError.CODE) ? 'ERROR' : 'FAILURE';
    return { type, id, description: this.#options.describeError(error) };
  }

  /** The first answer counts; the call leaves the table when that answer is with the socket, or nowhere to go. */
  #answer(call: InFlight, message: Message): void {
    if (call.answered) return;
    call.answered = true;
    void this.#send(call.peer, message).then(() => {
      this.#release(call);
    });
  }

  #reply(peer: string, message: Message): void {
    void this.#send(peer, message);
  }

  async #send(peer: string, message: Message): Promise<void> {
    const { metrics, logger, send } = this.#options;
    const outcome = await send(peer, message);
    if (outcome === 'sent') {
      metrics.replies.increment({ type: message.type });
      return;
    }
    metrics.dropped.increment({ reason: outcome });
    logger.debug('a reply was dropped', { peer, method: message.id.method, reason: outcome });
  }

  #admit(peer: string, id: RequestId): InFlight {
    const key = callKey(peer, id);
    const controller = new AbortController();
    const call = { peer, id, key, controller, started: false, cancelled: false, answered: false };
    const calls = this.#inFlight.get(key) ?? new Set();
    this.#inFlight.set(key, calls.add(call));
    this.#perPeer.set(peer, (this.#perPeer.get(peer) ?? 0) + 1);
    this.#count(1);
    return call;
  }

  #release(call: InFlight): void {
    const calls = this.#inFlight.get(call.key);
    if (!calls?.delete(call)) return;
    if (calls.size === 0) this.#inFlight.delete(call.key);
    const rest = (this.#perPeer.get(call.peer) ?? 1) - 1;
    if (rest > 0) this.#perPeer.set(call.peer, rest);
    else this.#perPeer.delete(call.peer);
    this.#count(-1);
  }

  #count(by: number): void {
    this.#total += by;
    this.#options.metrics.inFlight.set(this.#total, { endpoint: this.#options.endpoint });
    if (this.#total > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }

  #whenIdle(): Promise<void> {
    if (this.#total === 0) return Promise.resolve();
    this.#idle ??= deferred<void>();
    return this.#idle.promise;
  }
}

function callKey(peer: string, id: RequestId): string {
  return `${peer}/${requestKey(id)}`;
}

/** Ours, or what Node's own functions throw when their signal aborts. */
function isCancellation(error: unknown): boolean {
  return hasCode(error, 'CANCELLED') || hasCode(error, 'ABORT_ERR');
}
