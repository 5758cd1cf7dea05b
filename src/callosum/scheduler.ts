import { KeyedQueue } from '../core/keyed-queue.js';

/**
 * `exit-ordered`: every call starts at once and replies leave as they finish; what agents use.
 * `key-serialized`: calls with equal order keys run one after another in order of arrival, across methods and
 * callers; different keys run in parallel (spec/wire-protocol.md 2.5).
 */
export type SchedulerName = 'exit-ordered' | 'key-serialized';

export interface Scheduler {
  /** `orderKey` is compared as text; the caller makes text and binary keys differ. */
  run(orderKey: string, job: () => Promise<void>): Promise<void>;
}

export function createScheduler(name: SchedulerName): Scheduler {
  if (name === 'exit-ordered') return { run: (_orderKey, job) => job() };
  return new KeyedQueue<string>();
}
