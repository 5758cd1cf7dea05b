import { deferred, within } from '../core/async.js';
import type { Deferred } from '../core/async.js';
import {
  CancelledError,
  hasCode,
  isSpleniumError,
  messageOf,
  TimeoutError,
  ValueError,
} from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { counterSeries, gaugeSeries } from '../core/metrics.js';
import type { CounterSeries, GaugeSeries } from '../core/metrics.js';
import { PeerClosedError, UnknownMethodError } from './errors.js';
import type { FaultLog } from './fault-log.js';
import { Call, exceeded, InFlight } from './in-flight.js';
import type { PeerMetrics } from './peer-metrics.js';
import type { CallHandler, ErrorDescriber, PeerLimits, Serializer } from './peer-options.js';
import type { Scheduler } from './scheduler.js';
import type { OnOutcome, SendOutcome } from './transport/outbox.js';
import { BODY_OVERHEAD_BYTES } from './wire/message.js';
import type { Message, RequestId } from './wire/message.js';

export interface CalleeOptions {
  readonly handler: CallHandler;
  readonly serializer: Serializer;
  readonly scheduler: Scheduler;
  readonly limits: PeerLimits;
  /** Milliseconds a call of a method may take; undefined: no limit. */
  readonly deadlineOf: (method: string) => number | undefined;
  readonly describeError: ErrorDescriber;
  /** May this peer call, or are there too many connections? */
  readonly admits: (peer: string) => boolean;
  /** Sends a message to one peer; never throws. */
  readonly send: (peer: string, message: Message, onOutcome: OnOutcome) => void;
  /** Label of the in-flight gauge. */
  readonly endpoint: string;
  readonly logger: Logger;
  readonly faults: FaultLog;
  readonly metrics: PeerMetrics;
}

/**
 * The serving half of a peer. Every FUNCTION gets exactly one answer, whatever its handler does
 * (spec/wire-protocol.md 2.5 and 6).
 */
export class Callee {
  readonly #options: CalleeOptions;
  readonly #inFlight: InFlight;
  readonly #calls: GaugeSeries;
  readonly #results: CounterSeries;
  #draining = false;
  #idle: Deferred<void> | undefined;

  constructor(options: CalleeOptions) {
    this.#options = options;
    this.#inFlight = new InFlight(options.limits);
    this.#calls = gaugeSeries(options.metrics.inFlight, { endpoint: options.endpoint });
    this.#results = counterSeries(options.metrics.replies, { type: 'RESULT' });
  }

  /** Calls received and not yet answered. */
  get inFlight(): number {
    return this.#inFlight.count;
  }

  onFunction(peer: string, id: RequestId, payload: Uint8Array): void {
    const refusal = this.#refusal(peer, payload.length);
    if (refusal) {
      this.#options.metrics.refused.increment({ limit: limitOf(refusal) });
      this.#reply(peer, { type: 'FAILURE', id, description: this.#options.describeError(refusal) });
      return;
    }
    const call = new Call(peer, id, payload.length);
    this.#inFlight.add(call);
    this.#showInFlight();
    this.#options.scheduler.run(call, () => this.#execute(call, payload));
    if (!call.answered) this.#startDeadline(call);
  }

  /** Answers a FUNCTION whose header could be read but nothing more. */
  onUnreadable(peer: string, id: RequestId, error: unknown): void {
    this.#reply(peer, { type: 'ERROR', id, description: this.#options.describeError(error) });
  }

  /**
   * Aborts the call's signal. The answer is CANCELLED once the handler gives in; a handler that finishes all the
   * same is answered with what it did. A call that has not started is answered at once and never runs; one that is
   * answered already is none of ours any more.
   */
  onCancel(peer: string, id: RequestId): void {
    for (const call of this.#inFlight.of(peer, id)) {
      call.cancelled = true;
      call.abort(new CancelledError(`${id.method}: cancelled by the caller`));
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
    for (const call of this.#inFlight.all()) this.#giveUp(call, closed);
  }

  #refusal(peer: string, bytes: number): PeerClosedError | ReturnType<typeof exceeded> | undefined {
    if (this.#draining) return new PeerClosedError('the server is shutting down', { retryable: true });
    if (!this.#options.admits(peer))
      return exceeded(
        'maxConnections',
        `more than ${String(this.#options.limits.maxConnections)} connections; close some or try again later`,
      );
    return this.#inFlight.refusal(peer, bytes);
  }

  #startDeadline(call: Call): void {
    const timeoutMs = this.#options.deadlineOf(call.method);
    if (timeoutMs === undefined) return;
    call.deadline = setTimeout(() => {
      this.#options.metrics.timedOut.increment();
      this.#giveUp(call, new TimeoutError(`${call.method}: no result within ${String(timeoutMs)} ms`));
    }, timeoutMs);
  }

  /** Does not wait for the handler, which may not listen to its signal. */
  #giveUp(call: Call, reason: TimeoutError | PeerClosedError): void {
    call.abort(reason);
    this.#answer(call, { type: 'FAILURE', id: call.id, description: this.#options.describeError(reason) });
  }

  /** Answers before it returns where the handler has its result at once. */
  #execute(call: Call, payload: Uint8Array): Promise<void> | undefined {
    if (call.answered) return undefined;
    call.started = true;
    let result: unknown;
    try {
      if (!this.#unpack(call, payload)) return undefined;
      result = this.#options.handler(call);
    } catch (error) {
      this.#answer(call, this.#replyTo(call, error));
      return undefined;
    }
    if (isPromise(result)) return this.#answerLater(call, result);
    this.#answerResult(call, result);
    return undefined;
  }

  async #answerLater(call: Call, pending: PromiseLike<unknown>): Promise<void> {
    try {
      this.#answerResult(call, await pending);
    } catch (error) {
      this.#answer(call, this.#replyTo(call, error));
    }
  }

  #answerResult(call: Call, result: unknown): void {
    let reply: Message;
    try {
      reply = this.#result(call, result);
    } catch (error) {
      reply = this.#replyTo(call, error);
    }
    this.#answer(call, reply);
  }

  /** Only when the call starts: until then it costs no more memory than it did on the wire. */
  #unpack(call: Call, payload: Uint8Array): boolean {
    try {
      call.body = this.#options.serializer.unpack(payload);
      return true;
    } catch (error) {
      const known = isSpleniumError(error);
      this.#options.metrics.malformed.increment({ reason: 'payload' });
      this.#options.faults.warn('a call has an unreadable payload', known ? error.code : 'payload', {
        peer: call.peer,
        method: call.method.slice(0, 100),
        error: messageOf(error),
      });
      const described = this.#options.describeError(known ? error : new ValueError(messageOf(error)));
      this.#answer(call, { type: 'ERROR', id: call.id, description: described });
      return false;
    }
  }

  /** @throws LimitExceededError for a result that no peer with our limits would take. */
  #result({ id, method }: Call, result: unknown): Message {
    const { serializer, limits } = this.#options;
    const { maxMessageBytes } = limits;
    const roomBytes = serializer.packWithRoom ? BODY_OVERHEAD_BYTES : 0;
    const payload = serializer.packWithRoom?.(result, roomBytes) ?? serializer.pack(result);
    if (payload.length + BODY_OVERHEAD_BYTES > maxMessageBytes)
      throw exceeded(
        'maxMessageBytes',
        `${method}: the result has ${String(payload.length)} bytes, more than the ${String(maxMessageBytes)} of one message; ask for less`,
      );
    return { type: 'RESULT', id, payload, roomBytes };
  }

  #replyTo(call: Call, error: unknown): Message {
    const { id, cancelled } = call;
    // CANCELLED without a CANCEL would look to a Python caller as if its own task had been cancelled.
    if (cancelled && isCancellation(error)) return { type: 'CANCELLED', id };
    const type = hasCode(error, UnknownMethodError.CODE) ? 'ERROR' : 'FAILURE';
    return { type, id, description: this.#options.describeError(error) };
  }

  /** The first answer counts; the call leaves the table when that answer is with the socket, or nowhere to go. */
  #answer(call: Call, message: Message): void {
    if (call.answered) return;
    call.answered = true;
    clearTimeout(call.deadline);
    this.#options.send(call.peer, message, (outcome) => {
      if (outcome === 'queue-full' && message.type === 'RESULT') {
        const refusal = exceeded(
          'maxQueuedBytesPerPeer',
          `${call.method}: too much waits for this peer already`,
        );
        const description = this.#options.describeError(refusal);
        this.#reply(call.peer, { type: 'FAILURE', id: call.id, description });
      } else this.#onOutcome(call.peer, message, outcome);
      this.#release(call);
    });
  }

  #reply(peer: string, message: Message): void {
    this.#options.send(peer, message, (outcome) => {
      this.#onOutcome(peer, message, outcome);
    });
  }

  #onOutcome(peer: string, message: Message, outcome: SendOutcome): void {
    const { metrics, logger } = this.#options;
    if (outcome === 'sent') {
      if (message.type === 'RESULT') this.#results.increment();
      else metrics.replies.increment({ type: message.type });
      return;
    }
    metrics.dropped.increment({ reason: outcome });
    logger.debug('a reply was dropped', { peer, method: message.id.method, reason: outcome });
  }

  #release(call: Call): void {
    if (!this.#inFlight.remove(call)) return;
    this.#showInFlight();
    if (this.#inFlight.count > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }

  #showInFlight(): void {
    this.#calls.set(this.#inFlight.count);
  }

  #whenIdle(): Promise<void> {
    if (this.#inFlight.count === 0) return Promise.resolve();
    this.#idle ??= deferred<void>();
    return this.#idle.promise;
  }
}

/** Label of the metric: the name of the limit, or `closing`. */
function limitOf({ details }: PeerClosedError | ReturnType<typeof exceeded>): string {
  return typeof details['limit'] === 'string' ? details['limit'] : 'closing';
}

/** Ours, or what Node's own functions throw when their signal aborts. */
function isCancellation(error: unknown): boolean {
  return hasCode(error, 'CANCELLED') || hasCode(error, 'ABORT_ERR');
}

/** By shape: a promise may come from another realm. */
function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
