import { LimitExceededError } from '../core/errors.js';
import type { IncomingCall, PeerLimits } from './peer-options.js';
import { latin1, sameRequest } from './wire/message.js';
import type { RequestId } from './wire/message.js';

/** One FUNCTION between its arrival and the moment its reply is with the socket. */
export class Call implements IncomingCall {
  readonly peer: string;
  readonly id: RequestId;
  /** Length of the packed payload. */
  readonly bytes: number;
  /** Set when the handler starts; until then the payload stays packed. */
  body: unknown;
  started = false;
  cancelled = false;
  answered = false;
  deadline: NodeJS.Timeout | undefined;
  #controller: AbortController | undefined;
  #aborted: Error | undefined;
  #listeners: ((reason: Error) => void)[] | undefined;

  constructor(peer: string, id: RequestId, bytes: number) {
    this.peer = peer;
    this.id = id;
    this.bytes = bytes;
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

  onAbort(listener: (reason: Error) => void): void {
    if (this.#aborted) listener(this.#aborted);
    else (this.#listeners ??= []).push(listener);
  }

  /** The first reason counts. */
  abort(reason: Error): void {
    if (this.#aborted) return;
    this.#aborted = reason;
    this.#controller?.abort(reason);
    for (const listener of this.#listeners ?? []) listener(reason);
  }
}

/** What one peer has under way. A caller that repeats an id while its call runs gets two answers, as in Python. */
interface Share {
  readonly calls: Set<Call>;
  bytes: number;
}

/** The calls received and not yet answered, and the bounds on them: in all and of each peer, in number and bytes. */
export class InFlight {
  readonly #limits: PeerLimits;
  readonly #shares = new Map<string, Share>();
  /** An empty one for the next peer: most callers wait for one answer after the other. */
  #spare: Share | undefined;
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
    if (share && share.calls.size >= maxInFlightPerPeer)
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
    let share = this.#shares.get(call.peer);
    if (!share) {
      share = this.#spare ?? { calls: new Set(), bytes: 0 };
      this.#spare = undefined;
      this.#shares.set(call.peer, share);
    }
    share.calls.add(call);
    share.bytes += call.bytes;
    this.#count += 1;
    this.#bytes += call.bytes;
  }

  /** @returns false when the call was not, or no longer, in flight. */
  remove(call: Call): boolean {
    const share = this.#shares.get(call.peer);
    if (!share?.calls.delete(call)) return false;
    share.bytes -= call.bytes;
    if (share.calls.size === 0) {
      this.#shares.delete(call.peer);
      this.#spare = share;
    }
    this.#count -= 1;
    this.#bytes -= call.bytes;
    return true;
  }

  /** The calls with this id; more than one only where a caller repeats itself. Looks through all of the peer's. */
  of(peer: string, id: RequestId): readonly Call[] {
    const share = this.#shares.get(peer);
    return share ? [...share.calls].filter((call) => sameRequest(call.id, id)) : [];
  }

  all(): readonly Call[] {
    return [...this.#shares.values()].flatMap(({ calls }) => [...calls]);
  }
}

/** The refusal of a call; the limit's name is for the metric. */
export function exceeded(limit: keyof PeerLimits, message: string): LimitExceededError {
  return new LimitExceededError(message, { retryable: true, details: { limit } });
}
