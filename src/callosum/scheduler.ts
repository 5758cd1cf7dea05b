import { KeyedQueue } from '../core/keyed-queue.js';

/**
 * `concurrent`: a bounded number of calls runs at once; those beyond wait, and callers take turns.
 * `exit-ordered`: every call starts at once and replies leave as they finish; what Python agents use.
 * `key-serialized`: calls with equal order keys run one after another in order of arrival, across methods and
 * callers; different keys run in parallel (spec/wire-protocol.md 2.5).
 */
export type SchedulerName = 'concurrent' | 'exit-ordered' | 'key-serialized';

/** What a scheduler may look at. */
export interface Schedulable {
  readonly peer: string;
  /** Compared as text; an empty text and an empty binary key differ. */
  readonly orderKey: string;
}

/** A job never throws or rejects. One that returns nothing has ended already. */
export type Job = () => Promise<void> | undefined;

export interface Scheduler {
  run(call: Schedulable, job: Job): void;
}

export function createScheduler(name: SchedulerName, limits: { readonly maxRunning: number }): Scheduler {
  switch (name) {
    case 'concurrent':
      return new ConcurrentScheduler(limits.maxRunning);
    case 'exit-ordered':
      return { run: (_call, job) => void job() };
    case 'key-serialized': {
      const queue = new KeyedQueue<string>();
      return { run: ({ orderKey }, job) => void queue.run(orderKey, async () => job()) };
    }
  }
}

class ConcurrentScheduler implements Scheduler {
  readonly #maxRunning: number;
  /** Waiting jobs by peer; the peer whose turn is next comes first. */
  readonly #waiting = new Map<string, Job[]>();
  #running = 0;

  constructor(maxRunning: number) {
    this.#maxRunning = maxRunning;
  }

  run({ peer }: Schedulable, job: Job): void {
    if (this.#running < this.#maxRunning) {
      this.#start(job);
      return;
    }
    const jobs = this.#waiting.get(peer);
    if (jobs) jobs.push(job);
    else this.#waiting.set(peer, [job]);
  }

  #start(job: Job): void {
    this.#running += 1;
    const running = job();
    if (running)
      void running.then(() => {
        this.#onEnd();
      });
    else this.#running -= 1;
  }

  /** Jobs that end at once leave their place to the next one, and no deeper stack. */
  #onEnd(): void {
    this.#running -= 1;
    while (this.#running < this.#maxRunning) {
      const next = this.#next();
      if (!next) return;
      this.#start(next);
    }
  }

  #next(): Job | undefined {
    for (const [peer, jobs] of this.#waiting) {
      const job = jobs.shift();
      this.#waiting.delete(peer);
      if (jobs.length > 0) this.#waiting.set(peer, jobs);
      return job;
    }
    return undefined;
  }
}
