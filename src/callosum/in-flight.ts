import { LimitExceededError } from '../core/errors.js';
import type { IncomingCall, PeerLimits } from './peer-options.js';
import { latin1, requestKey } from './wire/message.js';
import type { RequestId } from './wire/message.js';

/** One FUNCTION between its arrival and the moment its reply is with the socket. */
export class Call implements IncomingCall {
  readonly peer: string;
  readonly id: RequestId;
  /** Length of the packed payload. */
  readonly bytes: number;
  readonly key: string;
  /** Set when the handler starts; until then the payload stays packed. */
  body: unknown;
  started = false;
  cancelled = false;
  answered = false;
  deadline: NodeJS.Timeout | undefined;
  #controller: AbortController | undefined;
  #aborted: Error | undefined;

  constructor(peer: string, id: RequestId, bytes: number) {
    this.peer = peer;
    this.id = id;
    this.bytes = bytes;
    this.key = callKey(peer, id);
  }

  get orderKey(): string {
    return latin1(this.id.rawOrderKey);
  }

  get method(): string {
    return this.id.method;
  }

  /** Made when a handler asks for it; most never do. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#aborted);
    }
    return this.#controller.signal;
  }

  /** The first reason counts. */
  abort(reason: Error): void {
    this.#aborted ??= reason;
    this.#controller?.abort(reason);
  }
}

interface Share {
  calls: number;
  bytes: number;
}

/** The calls received and not yet answered, and the bounds on them: in all and of each peer, in number and bytes. */
export class InFlight {
  readonly #limits: PeerLimits;
  /** A caller that repeats an id while its call runs gets two answers, as in Python. */
  readonly #calls = new Map<string, Call[]>();
  readonly #shares = new Map<string, Share>();
  #count = 0;
  #bytes = 0;

  constructor(limits: PeerLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  /** Why a call of this peer with so many bytes cannot be taken; undefined when it can. */
  refusal(peer: string, bytes: number): LimitExceededError | undefined {
    const { maxInFlight, maxInFlightPerPeer, maxInFlightBytes, maxInFlightBytesPerPeer } = this.#limits;
    const share = this.#shares.get(peer);
    if (this.#count >= maxInFlight)
      return exceeded('maxInFlight', `more than ${String(maxInFlight)} calls in flight`);
    if (share && share.calls >= maxInFlightPerPeer)
      return exceeded(
        'maxInFlightPerPeer',
        `more than ${String(maxInFlightPerPeer)} calls in flight from one peer`,
      );
    if (this.#count > 0 && this.#bytes + bytes > maxInFlightBytes)
      return exceeded('maxInFlightBytes', `more than ${String(maxInFlightBytes)} bytes of calls in flight`);
    if (share && share.bytes + bytes > maxInFlightBytesPerPeer)
      return exceeded(
        'maxInFlightBytesPerPeer',
        `more than ${String(maxInFlightBytesPerPeer)} bytes of calls in flight from one peer`,
      );
    return undefined;
  }

  add(call: Call): void {
    const calls = this.#calls.get(call.key);
    if (calls) calls.push(call);
    else this.#calls.set(call.key, [call]);
    const share = this.#shares.get(call.peer);
    if (share) {
      share.calls += 1;
      share.bytes += call.bytes;
    } else this.#shares.set(call.peer, { calls: 1, bytes: call.bytes });
    this.#count += 1;
    this.#bytes += call.bytes;
  }

  /** @returns false when the call was not, or no longer, in flight. */
  remove(call: Call): boolean {
    const calls = this.#calls.get(call.key);
    const index = calls?.indexOf(call) ?? -1;
    if (!calls || index < 0) return false;
    calls.splice(index, 1);
    if (calls.length === 0) this.#calls.delete(call.key);
    const share = this.#shares.get(call.peer);
    if (share && --share.calls > 0) share.bytes -= call.bytes;
    else this.#shares.delete(call.peer);
    this.#count -= 1;
    this.#bytes -= call.bytes;
    return true;
  }

  /** The calls with this id; more than one only where a caller repeats itself. */
  of(peer: string, id: RequestId): readonly Call[] {
    return [...(this.#calls.get(callKey(peer, id)) ?? [])];
  }

  all(): readonly Call[] {
    return [...this.#calls.values()].flat();
  }
}

function callKey(peer: string, id: RequestId): string {
  return `${peer}/${requestKey(id)}`;
}

/** The refusal of a call; the limit's name is for the metric. */
export function exceeded(limit: keyof PeerLimits, message: string): LimitExceededError {
  return new LimitExceededError(message, { retryable: true, details: { limit } });
}
