import { randomUUID } from 'node:crypto';
import { within } from '../core/async.js';
import { hasCode, LimitExceededError, messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { REQUEST, textPayload } from '../kernel-runner/messages.js';
import type { RequestType, RunnerMessage } from '../kernel-runner/messages.js';
import { BATCH_JOB_RUN_ID } from './execution.js';
import type { ExecutionRequest } from './execution.js';
import type { RunnerLinkLimits } from './limits.js';
import { linkSignals } from './linked-signal.js';
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
  #lastExec: number | null = null;

  constructor(options: RunBoardOptions) {
    this.#options = options;
  }

  /**
   * The first status reply: the tasks the runner still works on for an earlier link, or undefined from a runner that
   * does not tell, and the exit code of the last `exec` that it finished. Later calls change nothing.
   */
  settle(pending: Tasks | undefined, lastExec?: number): void {
    if (this.#state !== 'unknown') return;
    this.#lastExec = lastExec ?? null;
    this.#state = pending ? 'exact' : 'guessing';
    const owed = (pending ?? []).filter((task) => task === REQUEST.exec || task === REQUEST.code).length;
    const early = this.#orphan;
    if (owed > 0) {
      const orphan = early ?? new Run(randomUUID());
      orphan.owed = owed;
      this.#orphan = this.#isClaimed(orphan) ? undefined : orphan;
      this.#active = orphan;
    } else if (early && this.#isClaimed(early)) {
      this.#orphan = undefined;
      if (early.owed === 0) this.#nothingPending(early);
    } else if (early?.owed === 0) this.#orphan = undefined;
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
    for (const { type, payload } of tasks)
      if (payload.length > this.#options.limits.maxRequestBytes)
        throw new LimitExceededError(
          `the ${type} text of ${String(payload.length)} bytes is larger than ${String(this.#options.limits.maxRequestBytes)}: put it into a file`,
        );
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
    const ends = linkSignals(signal, closed);
    const wait = (work: Promise<unknown>) =>
      within(work, {
        timeoutMs: until === undefined ? undefined : Math.max(0, until - performance.now()),
        signal: ends.signal,
        what: `run ${run.id}`,
      });
    run.collectors += 1;
    const turn = run.turn();
    let isMyTurn = false;
    try {
      await wait(turn);
      isMyTurn = true;
      while (!run.isReady(limits.maxResultChars)) await wait(run.ready(limits.maxResultChars));
    } catch (error) {
      if (closed.aborted) throw closed.reason;
      if (!hasCode(error, 'TIMEOUT')) throw error;
    } finally {
      ends.release();
      void turn.then((done) => {
        done();
      });
      run.collectors -= 1;
      if (signal?.aborted === true) this.#tidy(run, true);
    }
    const taken = isMyTurn ? run.take(limits.maxResultChars) : { records: [], outcome: CONTINUED };
    run.isAnswered = true;
    this.#tidy(run, false);
    return taken;
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
      run.owed = 0;
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
      this.#start(next);
    }
  }

  #start(run: Run): void {
    try {
      for (const message of run.feed.splice(0)) this.#options.send(message);
    } catch (error) {
      // The runner does not read. Nobody may be waiting here who could be told, so the run tells.
      run.append({ kind: 'text', stream: 'stderr', text: `[agent] ${messageOf(error)}\n` });
      run.append({ kind: 'outcome', outcome: { status: 'finished', exitCode: null, options: null } });
      run.owed = 0;
      this.#active = undefined;
    }
  }

  /** A call continues a run that was not started over this link. */
  #adopt(id: string): Run {
    let run = this.#orphan;
    if (run && this.#isClaimed(run)) run = undefined;
    run ??= new Run(id);
    run.id = id;
    if (this.#state === 'unknown') this.#orphan ??= run;
    else if (run === this.#orphan) this.#orphan = undefined;
    else this.#nothingPending(run);
    this.#runs.set(id, run);
    return run;
  }

  /** A call continues a run, and the runner told that it works on nothing, or told nothing. */
  #nothingPending(run: Run): void {
    if (this.#state === 'exact') {
      // Nothing will ever come; a client that asks for it shall not ask forever.
      const text = `[agent] the run ${run.id} is over or was never started here\n`;
      run.append({ kind: 'text', stream: 'stderr', text });
      // The one run of a batch session may have ended unheard, between two links.
      const exitCode = run.id === BATCH_JOB_RUN_ID ? this.#lastExec : null;
      run.append({ kind: 'outcome', outcome: { status: 'finished', exitCode, options: null } });
      return;
    }
    run.owed = 1;
    run.isListener = true;
    this.#active ??= run;
  }

  #isClaimed(orphan: Run): boolean {
    return this.#runs.get(orphan.id) === orphan;
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
    if (wasCancelled && neverSent >= 0 && !run.isAnswered) {
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
