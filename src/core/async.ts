import { CancelledError, TimeoutError } from './errors.js';

export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** A promise with its two handles. An unobserved rejection is not reported: the owner decides who listens. */
export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}

/** Does the work at once; what it throws is a rejection, as callers of a promise expect. */
export function attempt<T>(work: () => T | PromiseLike<T>): Promise<T> {
  return new Promise((resolve) => {
    resolve(work());
  });
}

/**
 * Waits for a promise, but no longer than the deadline and only until the signal aborts. The underlying work goes
 * on: pass the same signal to it when it should stop too.
 * @throws TimeoutError naming `what`, or CancelledError.
 */
export async function within<T>(
  work: Promise<T>,
  options: {
    readonly timeoutMs?: number | undefined;
    readonly signal?: AbortSignal | undefined;
    readonly what: string;
  },
): Promise<T> {
  const { timeoutMs, signal, what } = options;
  let timer: NodeJS.Timeout | undefined;
  let onAbort: (() => void) | undefined;
  const limits: Promise<never>[] = [];
  if (timeoutMs !== undefined)
    limits.push(
      new Promise((_, reject) => {
        timer = setTimeout(() => {
          reject(new TimeoutError(`${what}: no result within ${String(timeoutMs)} ms`));
        }, timeoutMs);
      }),
    );
  if (signal)
    limits.push(
      new Promise((_, reject) => {
        onAbort = () => {
          reject(new CancelledError(`${what}: cancelled`));
        };
        if (signal.aborted) onAbort();
        else signal.addEventListener('abort', onAbort, { once: true });
      }),
    );
  try {
    return await Promise.race([work, ...limits]);
  } finally {
    clearTimeout(timer);
    if (onAbort) signal?.removeEventListener('abort', onAbort);
  }
}

/** @throws CancelledError naming `what`. */
export function throwIfCancelled(signal: AbortSignal, what: string): void {
  if (signal.aborted) throw new CancelledError(`${what}: cancelled`);
}

/** Works on all items, at most `limit` at the same time; results in the order of the items. Rejects with the first failure. */
export async function mapBounded<Item, Result>(
  items: Iterable<Item>,
  limit: number,
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const waiting = [...items].entries();
  const results: Result[] = [];
  const worker = async () => {
    for (const [index, item] of waiting) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: limit }, worker));
  return results;
}
