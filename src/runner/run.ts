import { deferred } from '../core/async.js';
import type { Deferred } from '../core/async.js';
import type { RunnerMessage } from '../kernel-runner/messages.js';
import type { Outcome } from './execution.js';
import { sizeOf } from './records.js';
import type { OutputRecord, RunRecord } from './records.js';

/** What every kept record costs beside its characters. */
const RECORD_OVERHEAD = 64;
/** Neighbouring texts of one stream are joined up to this length, so that a chatty program costs few records. */
const JOINED_CHARS = 1 << 16;

export interface Taken {
  readonly records: readonly OutputRecord[];
  readonly outcome: Outcome;
}

const CONTINUED: Outcome = { status: 'continued', exitCode: null, options: null };

/** One run: what is still to be sent for it, what came back and was not collected. */
export class Run {
  /** Changes once, when a call adopts output that was nobody's. */
  id: string;
  /** Messages that wait until the runner is free. */
  feed: RunnerMessage[] = [];
  /** `finished` messages the runner still owes; negative when more came than were expected. */
  owed = 0;
  /** Took over output that nobody else claims; gives way as soon as another run wants to start. */
  isListener = false;
  /** Has a call had a result, so that its client counts on the run? */
  isAnswered = false;
  /** Calls that collect, one after another. */
  collectors = 0;
  #lastTurn: Promise<void> = Promise.resolve();
  readonly #records: RunRecord[] = [];
  #cost = 0;
  #outcomes = 0;
  #droppedChars = 0;
  #waiter: { readonly maxChars: number; readonly wake: Deferred<void> } | undefined;

  constructor(id: string) {
    this.id = id;
  }

  /** Characters and overhead kept. */
  get cost(): number {
    return this.#cost;
  }

  get isEmpty(): boolean {
    return this.#records.length === 0;
  }

  append(record: RunRecord): void {
    this.#noteDropped();
    this.#push(record);
    if (this.#waiter && this.isReady(this.#waiter.maxChars)) this.#waiter.wake.resolve();
  }

  /** Counts output that found no room; the console will say so where it is missing. */
  drop(record: RunRecord): void {
    this.#droppedChars += sizeOf(record);
  }

  /** Forgets what was not collected. */
  clear(): void {
    this.#records.length = 0;
    this.#cost = 0;
    this.#outcomes = 0;
    this.#droppedChars = 0;
  }

  /** Waits for the calls that collect already; resolves with the function that lets in the next. */
  async turn(): Promise<() => void> {
    const before = this.#lastTurn;
    const mine = deferred<void>();
    this.#lastTurn = before.then(() => mine.promise);
    await before;
    return () => {
      mine.resolve();
    };
  }

  /** Resolves when `isReady` turns true. */
  ready(maxChars: number): Promise<void> {
    this.#waiter = { maxChars, wake: deferred() };
    return this.#waiter.wake.promise;
  }

  /** May a result be made before its time is up: by an outcome, or because it would become too large? */
  isReady(maxChars: number): boolean {
    return this.#outcomes > 0 || this.#cost >= maxChars;
  }

  /** The next result: everything up to the first outcome, but not much more than `maxChars`. */
  take(maxChars: number): Taken {
    this.#noteDropped();
    const records: OutputRecord[] = [];
    let chars = 0;
    for (let next = this.#records.shift(); next; next = this.#records.shift()) {
      this.#cost -= costOf(next);
      if (next.kind === 'outcome') {
        this.#outcomes -= 1;
        return { records, outcome: next.outcome };
      }
      records.push(next);
      chars += sizeOf(next);
      if (chars >= maxChars && this.#records.length > 0 && this.#records[0]?.kind !== 'outcome') break;
    }
    return { records, outcome: CONTINUED };
  }

  #push(record: RunRecord): void {
    const last = this.#records.at(-1);
    if (
      record.kind === 'text' &&
      last?.kind === 'text' &&
      last.stream === record.stream &&
      last.text.length + record.text.length <= JOINED_CHARS
    ) {
      this.#records[this.#records.length - 1] = { ...last, text: last.text + record.text };
      this.#cost += record.text.length;
      return;
    }
    if (record.kind === 'outcome') this.#outcomes += 1;
    this.#records.push(record);
    this.#cost += costOf(record);
  }

  #noteDropped(): void {
    if (this.#droppedChars === 0) return;
    const text = `\n[agent] ${String(this.#droppedChars)} characters of output were dropped here: too much of it was waiting to be collected\n`;
    this.#droppedChars = 0;
    this.#push({ kind: 'text', stream: 'stderr', text });
  }
}

export const costOf = (record: RunRecord): number => sizeOf(record) + RECORD_OVERHEAD;
