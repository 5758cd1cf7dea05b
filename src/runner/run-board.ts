import { randomUUID } from 'node:crypto';
import { within } from '../core/async.js';
import { hasCode, LimitExceededError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { REQUEST, textPayload } from '../kernel-runner/messages.js';
import type { RequestType, RunnerMessage } from '../kernel-runner/messages.js';
import type { ExecutionRequest } from './execution.js';
import type { RunnerLinkLimits } from './limits.js';
import type { RunRecord } from './records.js';
import { costOf, Run } from './run.js';
import type { Taken } from './run.js';

export interface RunBoardOptions {
  readonly limits: RunnerLinkLimits;
  readonly logger: Logger;
  /** Hands a request to the socket. @throws LimitExceededError when too many wait there. */
  readonly send: (message: RunnerMessage) => void;
  /** Aborts with the reason when the link closes. */
  readonly closed: AbortSignal;
}

type Tasks = readonly string[];

const CONTINUED = { status: 'continued', exitCode: null, options: null } as const;

/**
 * Whose turn it is, and whose output comes in (spec/kernel-runner.md 3.5, 3.6, without the defects of 3.8).
 *
 * The wire carries no run ids: what the runner sends belongs to the run whose tasks it works on. So one run is active
 * from the moment its tasks are sent until the runner has sent their last `finished`; all others wait in line with
 * their tasks still here. A client's pace has no say in that: a run that is over makes room although its output
 * was not collected yet, and nothing that arrives between two calls is lost.
 */
export class RunBoard {
  readonly #options: RunBoardOptions;
  readonly #runs = new Map<string, Run>();
  readonly #line: Run[] = [];
  #active: Run | undefined;
  /** Output of tasks that were sent before this link existed; the first call that continues an unknown run gets it. */
  #orphan: Run | undefined;
  /** Until the runner has told what it is working on, nobody knows whose its output is. */
  #state: 'unknown' | 'exact' | 'guessing' = 'unknown';

  constructor(options: RunBoardOptions) {
    this.#options = options;
  }

  /**
   * The first status reply: the tasks the runner still works on for an earlier link, or undefined from a runner that
   * does not tell. Later calls change nothing.
   */
  settle(pending: Tasks | undefined): void {
    if (this.#state !== 'unknown') return;
    this.#state = pending ? 'exact' : 'guessing';
    const owed = (pending ?? []).filter((task) => task === REQUEST.exec || task === REQUEST.code).length;
    if (owed > 0) {
      this.#orphan ??= new Run(randomUUID());
      this.#orphan.owed = owed;
      this.#active = this.#orphan;
    }
    this.#startNext();
  }

  /** Output or an outcome from the runner. */
  accept(record: RunRecord): void {
    const run = this.#active ?? this.#adoptedBeforeSettling();
    if (!run) {
      this.#options.logger.debug('output without a run was dropped', { kind: record.kind });
      return;
    }
    if (record.kind === 'outcome' || this.#makeRoom(run, costOf(record))) run.append(record);
    else run.drop(record);
    if (record.kind !== 'outcome' || record.outcome.status !== 'finished') return;
    run.owed -= 1;
    if (run.owed > 0 || run !== this.#active) return;
    this.#active = undefined;
    this.#startNext();
  }

  /**
   * Finds or makes the run and sends, or queues, what its mode asks for.
   * @throws LimitExceededError when too many runs or requests wait.
   */
  attach(request: Pick<ExecutionRequest, 'runId' | 'mode' | 'code' | 'opts'>): Run {
    const id = request.runId ?? randomUUID().replaceAll('-', '');
    const tasks = tasksOf(request);
    const known = this.#runs.get(id);
    if (tasks.length > 0) return this.#enqueue(known ?? new Run(id), tasks);
    const run = known ?? this.#adopt(id);
    if (request.mode === 'input' && run === this.#active)
      this.#options.send({ type: REQUEST.input, payload: textPayload(request.code) });
    return run;
  }

  /**
   * One result: up to the next outcome, or what there is when the time is up.
   * @throws CancelledError; the run goes on and loses nothing. RunnerClosedError.
   */
  async collect(run: Run, flushTimeoutMs: number | null, signal: AbortSignal | undefined): Promise<Taken> {
    const { limits, closed } = this.#options;
    const until = flushTimeoutMs === null ? undefined : performance.now() + flushTimeoutMs;
    const ends = AbortSignal.any(signal ? [signal, closed] : [closed]);
    const wait = (work: Promise<unknown>) =>
      within(work, {
        timeoutMs: until === undefined ? undefined : Math.max(0, until - performance.now()),
        signal: ends,
        what: `run ${run.id}`,
      });
    run.collectors += 1;
    const turn = run.turn();
    try {
      await wait(turn);
      while (!run.isReady(limits.maxResultChars)) await wait(run.changed());
      return run.take(limits.maxResultChars);
    } catch (error) {
      if (closed.aborted) throw closed.reason;
      if (!hasCode(error, 'TIMEOUT')) throw error;
      return run.collectors === 1 ? run.take(limits.maxResultChars) : { records: [], outcome: CONTINUED };
    } finally {
      void turn.then((done) => {
        done();
      });
      run.collectors -= 1;
      this.#tidy(run, signal?.aborted ?? false);
    }
  }

  /** Runs whose tasks were not sent yet. */
  get waiting(): number {
    return this.#line.length;
  }

  #enqueue(run: Run, tasks: readonly RunnerMessage[]): Run {
    const { limits, send } = this.#options;
    if (run === this.#active && !run.isListener) {
      for (const message of tasks) send(message);
      run.owed += 1;
      return run;
    }
    if (!this.#line.includes(run)) {
      if (this.#line.length >= limits.maxWaitingRuns)
        throw new LimitExceededError(
          `${String(limits.maxWaitingRuns)} runs of this kernel wait already: let some of them finish first`,
          { retryable: true },
        );
      // A new start under an old name: what nobody collected of the former run would only confuse.
      run.clear();
      this.#line.push(run);
      this.#runs.set(run.id, run);
    }
    run.feed.push(...tasks);
    run.owed += 1;
    this.#startNext();
    return run;
  }

  #startNext(): void {
    if (this.#state === 'unknown') return;
    while (this.#active === undefined || this.#active.isListener) {
      const next = this.#line.shift();
      if (!next) return;
      this.#active = next;
      for (const message of next.feed.splice(0)) this.#options.send(message);
    }
  }

  /** A call continues a run that was not started over this link. */
  #adopt(id: string): Run {
    const orphan = this.#orphan;
    if (orphan) {
      this.#orphan = undefined;
      orphan.id = id;
      this.#runs.set(id, orphan);
      return orphan;
    }
    if (this.#state === 'exact') return lostRun(id);
    const run = new Run(id, true);
    run.owed = 1;
    this.#runs.set(id, run);
    this.#active ??= run;
    return run;
  }

  #adoptedBeforeSettling(): Run | undefined {
    if (this.#state !== 'unknown') return undefined;
    this.#orphan ??= new Run(randomUUID());
    return this.#orphan;
  }

  /** Room for more output: first at the cost of runs that are over and were left alone. */
  #makeRoom(receiver: Run, cost: number): boolean {
    const { maxBufferedChars } = this.#options.limits;
    const all = new Set([...this.#runs.values(), receiver]);
    let total = cost;
    for (const run of all) total += run.cost;
    for (const run of all) {
      if (total <= maxBufferedChars) break;
      if (run === receiver || run.owed > 0 || run.collectors > 0) continue;
      total -= run.cost;
      this.#forget(run);
    }
    return total <= maxBufferedChars;
  }

  #tidy(run: Run, wasCancelled: boolean): void {
    if (run.collectors > 0) return;
    const neverSent = this.#line.indexOf(run);
    if (wasCancelled && neverSent >= 0) {
      this.#line.splice(neverSent, 1);
      this.#forget(run);
    } else if (run.owed <= 0 && run.isEmpty) this.#forget(run);
    else this.#limitUncollected();
  }

  #limitUncollected(): void {
    const over = [...this.#runs.values()].filter(({ owed, collectors }) => owed <= 0 && collectors === 0);
    const surplus = over.length - this.#options.limits.maxUncollectedRuns;
    for (const run of over.slice(0, Math.max(0, surplus))) this.#forget(run);
  }

  #forget(run: Run): void {
    if (this.#runs.get(run.id) === run) this.#runs.delete(run.id);
    if (this.#active === run) this.#active = undefined;
    this.#startNext();
  }
}

/** Nothing will ever come for this run; a client that asks for it shall not ask forever. */
function lostRun(id: string): Run {
  const run = new Run(id);
  const text = `[agent] the run ${id} is over or was never started here\n`;
  run.append({ kind: 'text', stream: 'stderr', text });
  run.append({ kind: 'outcome', outcome: { status: 'finished', exitCode: null, options: null } });
  return run;
}

function tasksOf(request: Pick<ExecutionRequest, 'mode' | 'code' | 'opts'>): readonly RunnerMessage[] {
  const task = (type: RequestType, text: unknown): RunnerMessage => ({
    type,
    payload: textPayload(typeof text === 'string' ? text : ''),
  });
  switch (request.mode) {
    case 'query':
      return [task(REQUEST.code, request.code)];
    case 'batch':
      return [REQUEST.clean, REQUEST.build, REQUEST.exec].map((step) => task(step, request.opts[step]));
    default:
      return [];
  }
}
