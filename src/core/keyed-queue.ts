/**
 * Runs jobs one after another per key, different keys in parallel, in the order of arrival. A failing job rejects
 * its own promise only; the next one runs all the same. Keys without jobs cost nothing.
 */
export class KeyedQueue<Key> {
  readonly #tails = new Map<Key, Promise<unknown>>();

  run<T>(key: Key, job: () => Promise<T>): Promise<T> {
    const previous = this.#tails.get(key) ?? Promise.resolve();
    const result = previous.then(job, job);
    const tail = result.catch(() => undefined);
    this.#tails.set(key, tail);
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    return result;
  }

  /** Resolves once the jobs of one key that were queued before the call have ended. */
  passed(key: Key): Promise<void> {
    return this.run(key, () => Promise.resolve());
  }

  /** Number of keys with a running or waiting job. */
  get size(): number {
    return this.#tails.size;
  }

  /** Resolves once every job that was queued before the call has ended. */
  async idle(): Promise<void> {
    await Promise.all(this.#tails.values());
  }
}
