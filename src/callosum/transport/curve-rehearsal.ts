import type { HandshakeFailure } from './handshake-failure.js';

/** How long a stranger's refusal may be on its way: events of a socket come late on a machine that is busy starting. */
const LATE_MS = 10_000;

/**
 * Lets a bound socket know the strangers of the self-test, so that turning them away is neither counted nor warned of:
 * operators look at those figures for strangers that are real.
 */
export class CurveRehearsal {
  readonly #keys = new Set<string>();
  #refused = 0;
  #running = 0;
  #endedAtMs = -Infinity;

  /** Strangers are about to come, one of them with this key. Returns what tells that no more will. */
  begin(publicKey: string): () => void {
    this.#keys.add(publicKey);
    this.#running += 1;
    return () => {
      this.#running -= 1;
      this.#endedAtMs = performance.now();
    };
  }

  /** Is it the stranger whose key is refused now? Each refusal is followed by one failure of a handshake. */
  refuses(publicKey: string): boolean {
    if (!this.#keys.has(publicKey)) return false;
    this.#refused += 1;
    return true;
  }

  /** Is this failure one of a stranger's? Of those without a key nothing is known but the time. */
  expects(reason: HandshakeFailure): boolean {
    if (reason !== 'auth') return this.#running > 0 || performance.now() - this.#endedAtMs < LATE_MS;
    if (this.#refused === 0) return false;
    this.#refused -= 1;
    return true;
  }
}
