import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pull, Push } from 'zeromq';
import {
  jsonPayload,
  NO_PAYLOAD,
  parseFrames,
  parseJson,
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
  /** Until a run ends; its output comes at once. */
  readonly executeMs: number;
}

export interface FakeRunnerOptions {
  /** Seconds on the monotonic clock, as its status tells. */
  readonly startedAtSec: number;
  /** Hears everything and answers nothing. */
  readonly isSilent: boolean;
  readonly delays: FakeRunnerDelays;
  /** Asked once a run: does it fail? Absent: none does. */
  readonly failsRun?: () => boolean;
  /** Rejects when the signal aborts. Absent: as the time of this machine goes. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** What a run prints in place of running its code. */
export const NOT_IMPLEMENTED = 'not-implemented';
/** Exit status of a run that is interrupted, as shells tell it. */
const INTERRUPTED = 130;

/**
 * The kernel's side of the protocol without a kernel, inside this process: two sockets that never leave it. Code is not
 * run: its output is `not-implemented`, and it succeeds unless it is to fail, so that whoever drives it goes on.
 * Services "start" and "run" until they are shut down, there are no apps and no completions.
 */
export class FakeRunner {
  readonly endpoints: { readonly replIn: string; readonly replOut: string };
  readonly #options: FakeRunnerOptions;
  readonly #in = new Pull({ linger: 0 });
  readonly #out = new Push({ linger: 0 });
  readonly #closing = new AbortController();
  readonly #services = new Set<string>();
  #running: { readonly type: string; readonly interrupts: AbortController } | null = null;
  #sending: Promise<void> = Promise.resolve();

  private constructor(options: FakeRunnerOptions) {
    this.#options = options;
    setMaxListeners(0, this.#closing.signal);
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
    this.#closing.abort();
    this.#in.close();
    this.#out.close();
  }

  async #serve(): Promise<void> {
    try {
      for await (const frames of this.#in) {
        const message = parseFrames(frames);
        if (!message || this.#options.isSilent) continue;
        this.#take(message);
      }
    } catch {
      // Closed.
    }
  }

  #take({ type, payload }: RunnerMessage): void {
    const { delays, startedAtSec } = this.#options;
    switch (type) {
      case REQUEST.status: {
        const pending = this.#running === null ? [] : [this.#running.type];
        const status = statusPayload({ started_at: startedAtSec, pending });
        this.#answer(delays.statusMs, { type: RESPONSE.status, payload: status });
        return;
      }
      case REQUEST.getApps:
        this.#answer(delays.appsMs, json(RESPONSE.appsResult, { status: 'done', data: [] }));
        return;
      case REQUEST.complete:
        this.#answer(delays.completionMs, json(RESPONSE.completion, { suggestions: [] }));
        return;
      case REQUEST.startService: {
        const status = this.#startService(nameIn(payload));
        this.#answer(delays.startServiceMs, json(RESPONSE.serviceResult, { status }));
        return;
      }
      case REQUEST.startModelService:
        this.#answer(delays.startModelServiceMs, json(RESPONSE.modelServiceResult, { status: 'started' }));
        return;
      case REQUEST.shutdownService:
        this.#services.delete(nameIn(payload));
        return;
      case REQUEST.clean:
        this.#send({ type: RESPONSE.cleanFinished, payload: NO_PAYLOAD });
        return;
      case REQUEST.build:
        this.#send(NOTHING_DONE, json(RESPONSE.buildFinished, { exitCode: 0 }));
        return;
      case REQUEST.exec:
      case REQUEST.code:
        this.#run(type);
        return;
      case REQUEST.interrupt:
        this.#running?.interrupts.abort();
        return;
      default:
      // Input and events have no answer.
    }
  }

  /** Runs come one at a time: whoever asks for them sees to that. */
  #run(type: string): void {
    const { delays, failsRun } = this.#options;
    const exitCode = failsRun?.() === true ? 1 : 0;
    const end = (status: number) => {
      this.#running = null;
      this.#send(json(RESPONSE.finished, { exitCode: status }));
    };
    this.#send(NOTHING_DONE, ...(exitCode === 0 ? [] : [FAILED]));
    if (delays.executeMs <= 0) {
      end(exitCode);
      return;
    }
    const interrupts = new AbortController();
    this.#running = { type, interrupts };
    this.#sleep(delays.executeMs, interrupts.signal).then(
      () => {
        end(exitCode);
      },
      () => {
        if (!this.#closing.signal.aborted) end(INTERRUPTED);
      },
    );
  }

  #startService(name: string): 'started' | 'running' {
    if (this.#services.has(name)) return 'running';
    this.#services.add(name);
    return 'started';
  }

  #answer(afterMs: number, message: RunnerMessage): void {
    if (afterMs <= 0) this.#send(message);
    else
      this.#sleep(afterMs).then(
        () => {
          this.#send(message);
        },
        () => undefined,
      );
  }

  #sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const closing = this.#closing.signal;
    const ends = signal === undefined ? closing : AbortSignal.any([closing, signal]);
    return this.#options.sleep?.(ms, ends) ?? sleep(ms, undefined, { signal: ends });
  }

  #send(...messages: readonly RunnerMessage[]): void {
    for (const { type, payload } of messages)
      this.#sending = this.#sending.then(() => this.#out.send([type, payload])).catch(() => undefined);
  }
}

const json = (type: string, content: unknown): RunnerMessage => ({ type, payload: jsonPayload(content) });

const NOTHING_DONE: RunnerMessage = {
  type: RESPONSE.stdout,
  payload: textPayload(`${NOT_IMPLEMENTED}\n`),
};
const FAILED: RunnerMessage = {
  type: RESPONSE.stderr,
  payload: textPayload('this run fails because agent.dummy.toml says so\n'),
};

/** A service comes by its name, or in an object that has it. */
function nameIn(payload: Uint8Array): string {
  const content = parseJson(payload);
  if (typeof content === 'string') return content;
  const name =
    typeof content === 'object' && content !== null && 'name' in content ? content.name : undefined;
  return typeof name === 'string' ? name : '';
}
