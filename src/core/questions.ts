import { within } from './async.js';
import { isSpleniumError } from './errors.js';

interface QuestionLimits {
  /** Of one answer. */
  readonly timeoutMs: number;
  /** Default 3. */
  readonly most?: number;
}

/**
 * A question to the system that hangs (a dead file server, a process stuck in its driver) occupies one of the four
 * threads that all file access of this process goes through, and nothing can take it back. So no more questions than
 * these are open at a time, and one thread is always left for everybody else.
 */
const MOST_OPEN = 3;

/**
 * The door through which everything is measured that may hang; one for the whole process. What has not answered in
 * time is not asked again before it has, and delays nobody else in later rounds.
 */
export class Questions {
  readonly #timeoutMs: number;
  readonly #most: number;
  readonly #hanging = new Set<string>();
  #waiting: (() => void)[] = [];
  /** Those that hang among them. */
  #open = 0;

  constructor({ timeoutMs, most = MOST_OPEN }: QuestionLimits) {
    this.#timeoutMs = timeoutMs;
    this.#most = most;
  }

  /** Null: no answer in time, or none at all. `key` names who is asked; nobody is asked twice at a time. */
  async ask<T>(key: string, question: () => Promise<T>): Promise<T | null> {
    while (this.#open >= this.#most) {
      if (this.#hanging.size >= this.#most) return null;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    if (this.#hanging.has(key)) return null;
    this.#open += 1;
    const answer = question();
    const settled = (): void => {
      this.#open -= 1;
      this.#hanging.delete(key);
      this.#wake();
    };
    answer.then(settled, settled);
    try {
      return await within(answer, { timeoutMs: this.#timeoutMs, what: key });
    } catch (error) {
      if (isSpleniumError(error, 'TIMEOUT')) {
        this.#hanging.add(key);
        // Who waits may have nothing left to wait for.
        this.#wake();
      }
      return null;
    }
  }

  /** How many have not answered in time and still owe their answer. */
  get hanging(): number {
    return this.#hanging.size;
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
  }
}
