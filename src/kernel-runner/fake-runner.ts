import { randomBytes } from 'node:crypto';
import { Pull, Push } from 'zeromq';
import {
  jsonPayload,
  NO_PAYLOAD,
  parseFrames,
  REQUEST,
  RESPONSE,
  type RunnerMessage,
  statusPayload,
  textPayload,
} from './messages.js';

/** Milliseconds until each kind of answer. */
export interface FakeRunnerDelays {
  readonly statusMs: number;
  readonly completionMs: number;
  readonly startServiceMs: number;
  readonly startModelServiceMs: number;
  readonly appsMs: number;
}

export interface FakeRunnerOptions {
  /** Seconds on the monotonic clock, as its status tells. */
  readonly startedAtSec: number;
  /** Hears everything and answers nothing. */
  readonly isSilent: boolean;
  readonly delays: FakeRunnerDelays;
}

/** What a run prints in place of running its code. */
export const NOT_IMPLEMENTED = 'not-implemented';

/**
 * The kernel's side of the protocol without a kernel, inside this process: two sockets that never leave it. Code is not
 * run: its output is `not-implemented`, and it succeeds, so that whoever drives it goes on. Services "start", there
 * are no apps and no completions.
 */
export class FakeRunner {
  readonly endpoints: { readonly replIn: string; readonly replOut: string };
  readonly #options: FakeRunnerOptions;
  readonly #in = new Pull({ linger: 0 });
  readonly #out = new Push({ linger: 0 });
  readonly #timers = new Set<NodeJS.Timeout>();
  #sending: Promise<void> = Promise.resolve();

  private constructor(options: FakeRunnerOptions) {
    this.#options = options;
    const name = `inproc://fake-runner-${randomBytes(8).toString('hex')}`;
    this.endpoints = { replIn: `${name}/in`, replOut: `${name}/out` };
  }

  static async open(options: FakeRunnerOptions): Promise<FakeRunner> {
    const runner = new FakeRunner(options);
    try {
      await runner.#out.bind(runner.endpoints.replOut);
      await runner.#in.bind(runner.endpoints.replIn);
    } catch (error) {
      runner.close();
      throw error;
    }
    void runner.#serve();
    return runner;
  }

  /** Idempotent. */
  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#in.close();
    this.#out.close();
  }

  async #serve(): Promise<void> {
    try {
      for await (const frames of this.#in) {
        const message = parseFrames(frames);
        if (!message || this.#options.isSilent) continue;
        const { afterMs, answers } = this.#answerTo(message);
        if (answers.length > 0) this.#answer(afterMs, answers);
      }
    } catch {
      // Closed.
    }
  }

  #answerTo({ type }: RunnerMessage): {
    readonly afterMs: number;
    readonly answers: readonly RunnerMessage[];
  } {
    const { delays, startedAtSec } = this.#options;
    const one = (afterMs: number, answer: string, payload: Uint8Array) => ({
      afterMs,
      answers: [{ type: answer, payload }],
    });
    const ran = (finished: string) => ({
      afterMs: 0,
      answers: [
        { type: RESPONSE.stdout, payload: textPayload(`${NOT_IMPLEMENTED}\n`) },
        { type: finished, payload: jsonPayload({ exitCode: 0 }) },
      ],
    });
    switch (type) {
      case REQUEST.status:
        return one(
          delays.statusMs,
          RESPONSE.status,
          statusPayload({ started_at: startedAtSec, pending: [] }),
        );
      case REQUEST.getApps:
        return one(delays.appsMs, RESPONSE.appsResult, jsonPayload({ status: 'done', data: [] }));
      case REQUEST.complete:
        return one(delays.completionMs, RESPONSE.completion, jsonPayload({ suggestions: [] }));
      case REQUEST.startService:
        return one(delays.startServiceMs, RESPONSE.serviceResult, jsonPayload({ status: 'started' }));
      case REQUEST.startModelService:
        return one(
          delays.startModelServiceMs,
          RESPONSE.modelServiceResult,
          jsonPayload({ status: 'started' }),
        );
      case REQUEST.clean:
        return one(0, RESPONSE.cleanFinished, NO_PAYLOAD);
      case REQUEST.build:
        return ran(RESPONSE.buildFinished);
      case REQUEST.exec:
      case REQUEST.code:
        return ran(RESPONSE.finished);
      default:
        // Interrupts, the end of a service, input and events have no answer.
        return { afterMs: 0, answers: [] };
    }
  }

  #answer(afterMs: number, answers: readonly RunnerMessage[]): void {
    const send = () => {
      for (const { type, payload } of answers)
        this.#sending = this.#sending.then(() => this.#out.send([type, payload])).catch(() => undefined);
    };
    if (afterMs <= 0) {
      send();
      return;
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      send();
    }, afterMs);
    this.#timers.add(timer);
  }
}
