import { deferred, within } from '../core/async.js';
import type { Deferred } from '../core/async.js';
import type { Clock } from '../core/clock.js';
import { LimitExceededError } from '../core/errors.js';

interface Request {
  readonly answer: Deferred<Uint8Array>;
  /** Monotonic time at which its asker gave up. */
  abandonedAtMs: number | undefined;
}

export interface ReplyWaitOptions {
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** After this time an abandoned request is taken for lost. A service may take 30 s, a model longer. */
const LOST_AFTER_MS = 300_000;

/**
 * Requests of one kind and their replies, which match by order alone. A reply to a request whose asker gave up is
 * dropped, so that it cannot answer the next one (spec/kernel-runner.md 3.11, "Stale replies").
 */
export class ReplyLine {
  readonly #what: string;
  readonly #clock: Clock;
  readonly #maxPending: number;
  #requests: Request[] = [];

  constructor(what: string, clock: Clock, maxPending: number) {
    this.#what = what;
    this.#clock = clock;
    this.#maxPending = maxPending;
  }

  /** @throws TimeoutError, CancelledError, LimitExceededError, or what `send` throws. */
  async ask(send: () => void, options: ReplyWaitOptions): Promise<Uint8Array> {
    this.#dropLost();
    if (this.#requests.length >= this.#maxPending)
      throw new LimitExceededError(`${String(this.#maxPending)} ${this.#what} requests are unanswered`, {
        retryable: true,
      });
    send();
    const request: Request = { answer: deferred(), abandonedAtMs: undefined };
    this.#requests.push(request);
    try {
      return await within(request.answer.promise, { ...options, what: this.#what });
    } catch (error) {
      request.abandonedAtMs = this.#clock.monotonicMs();
      throw error;
    }
  }

  /** False for a reply nobody asked for. */
  answer(payload: Uint8Array): boolean {
    const request = this.#requests.shift();
    request?.answer.resolve(payload);
    return request !== undefined;
  }

  #dropLost(): void {
    const oldest = this.#clock.monotonicMs() - LOST_AFTER_MS;
    this.#requests = this.#requests.filter(
      ({ abandonedAtMs }) => abandonedAtMs === undefined || abandonedAtMs > oldest,
    );
  }
}
