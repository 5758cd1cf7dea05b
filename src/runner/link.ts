import { setMaxListeners } from 'node:events';
import { deferred, within } from '../core/async.js';
import { systemClock } from '../core/clock.js';
import type { Clock } from '../core/clock.js';
import { hasCode, ValueError } from '../core/errors.js';
import type { KernelId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { jsonPayload, NO_PAYLOAD, REQUEST, RESPONSE, textPayload } from '../kernel-runner/messages.js';
import type { RequestType, RunnerMessage } from '../kernel-runner/messages.js';
import { makeResult } from './console.js';
import { RunnerClosedError } from './errors.js';
import type { ExecutionRequest, ExecutionResult } from './execution.js';
import { DEFAULT_LIMITS } from './limits.js';
import type { RunnerLinkLimits } from './limits.js';
import { RecordReader } from './records.js';
import { ReplyLine } from './reply-line.js';
import { readApps, readCompletion, readModelStatus, readServiceResult, readStatus } from './replies.js';
import type { AppsResult, CompletionResult, RunnerStatus, ServiceResult } from './replies.js';
import { linkSignals } from './linked-signal.js';
import { RunBoard } from './run-board.js';
import { RunnerSockets } from './sockets.js';

/** How long a link waits for its first answer before it asks again. */
const INTRODUCTION_MS = 5000;

export interface RunnerLinkOptions {
  readonly kernelId: KernelId;
  readonly endpoints: {
    readonly replIn: string;
    readonly replOut: string;
    /** Milliseconds that a message without an answer takes; absent: none. */
    readonly noticesTakeMs?: { readonly interrupt: number; readonly shutdownService: number };
  };
  readonly logger: Logger;
  readonly clock?: Clock;
  readonly onEvent?: (event: RunnerEvent) => void;
  readonly limits?: Partial<RunnerLinkLimits>;
}

/** What a runner reports without being asked. */
export interface RunnerEvent {
  readonly type: 'model-service-status';
  readonly modelName: string;
  readonly isHealthy: boolean;
}

export interface ReplyOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** spec/kernel-runner.md 2.4 */
export interface ServiceRequest {
  readonly name: string;
  readonly port: number;
  readonly ports: readonly number[];
  readonly protocol: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** One entry of a model definition's `models`, in its own snake case (spec/kernel-runner.md 2.5). */
export type ModelDefinition = Readonly<Record<string, unknown>>;

/**
 * The agent's side of one kernel runner: executions, interrupts, completions, services.
 *
 * Nothing a call does can mute the kernel: cancelling one leaves the link and the run as they are. `close` ends all
 * waiting calls with RunnerClosedError; the kernel goes on, and another link may take over where this one left.
 */
export class RunnerLink {
  readonly kernelId: KernelId;
  readonly #limits: RunnerLinkLimits;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #noticesTakeMs: RunnerLinkOptions['endpoints']['noticesTakeMs'];
  readonly #onEvent: (event: RunnerEvent) => void;
  readonly #closing = new AbortController();
  readonly #settled = deferred<RunnerStatus>();
  #isSettled = false;
  readonly #sockets: RunnerSockets;
  readonly #records: RecordReader;
  readonly #board: RunBoard;
  readonly #statuses: ReplyLine;
  readonly #completions: ReplyLine;
  readonly #services: ReplyLine;
  readonly #modelServices: ReplyLine;
  readonly #apps: ReplyLine;

  private constructor(options: RunnerLinkOptions) {
    this.kernelId = options.kernelId;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    // Every waiting call listens; how many there may be is bounded elsewhere.
    setMaxListeners(0, this.#closing.signal);
    this.#logger = options.logger.child({ kernelId: options.kernelId });
    this.#onEvent = options.onEvent ?? (() => undefined);
    this.#records = new RecordReader(this.#limits.maxRecordBytes);
    this.#clock = options.clock ?? systemClock;
    this.#noticesTakeMs = options.endpoints.noticesTakeMs;
    const line = (what: string) => new ReplyLine(what, this.#clock, this.#limits.maxPendingReplies);
    this.#statuses = line('status');
    this.#completions = line('complete');
    this.#services = line('start-service');
    this.#modelServices = line('start-model-service');
    this.#apps = line('get-apps');
    this.#board = new RunBoard({
      limits: this.#limits,
      logger: this.#logger,
      closed: this.#closing.signal,
      send: (message) => {
        this.#sockets.send(message);
      },
    });
    this.#sockets = new RunnerSockets({
      ...options.endpoints,
      limits: this.#limits,
      logger: this.#logger,
      onMessage: (message) => {
        this.#hear(message);
      },
    });
    void this.#introduce();
  }

  /** Connects at once, also to a runner that is not there yet. @throws the socket's error for a malformed endpoint. */
  static connect(options: RunnerLinkOptions): RunnerLink {
    return new RunnerLink(options);
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /**
   * Resolves once the runner serves (spec/kernel-runner.md 3.12).
   * @throws TimeoutError, CancelledError, RunnerClosedError.
   */
  async waitReady(options: {
    readonly timeoutMs: number;
    readonly signal?: AbortSignal | undefined;
  }): Promise<void> {
    await this.#untilClosed(options.signal, (ends) =>
      within(this.#settled.promise, {
        timeoutMs: options.timeoutMs,
        signal: ends,
        what: `waiting for the runner of kernel ${this.kernelId}`,
      }),
    );
  }

  /** Null when the runner does not answer in time, or the link is closed. */
  async status(options: ReplyOptions = {}): Promise<RunnerStatus | null> {
    try {
      const reply = await this.#ask(
        this.#statuses,
        REQUEST.status,
        NO_PAYLOAD,
        options,
        this.#limits.replyTimeoutMs,
      );
      return readStatus(reply)?.status ?? null;
    } catch {
      return null;
    }
  }

  /**
   * Starts, feeds or continues a run and collects one result (spec/kernel-runner.md 3.3 to 3.7). Runs of different
   * ids take turns in the order of their first call; one that has to wait answers `continued` meanwhile.
   * @throws ValueError for an API version below 1, CancelledError, RunnerClosedError, LimitExceededError.
   */
  async execute(request: ExecutionRequest): Promise<ExecutionResult> {
    if (!(request.apiVersion >= 1)) throw new ValueError('api_version must be 1 or greater');
    this.#checkOpen();
    const run = this.#board.attach(request);
    const { records, outcome } = await this.#board.collect(run, request.flushTimeoutMs, request.signal);
    return makeResult(run.id, request.apiVersion, records, outcome);
  }

  /** Interrupts the code that runs now; without any it has no effect. There is no acknowledgement. */
  async interrupt(): Promise<void> {
    await this.#post(REQUEST.interrupt, NO_PAYLOAD);
    await this.#pause(this.#noticesTakeMs?.interrupt);
  }

  /** Suggestions for a text; never rejects because of the runner: a silent one gives `failed`. */
  async complete(
    text: string,
    opts: Readonly<Record<string, unknown>> = {},
    options: ReplyOptions = {},
  ): Promise<CompletionResult> {
    const payload = jsonPayload({ ...opts, code: text });
    try {
      return readCompletion(
        await this.#ask(this.#completions, REQUEST.complete, payload, options, this.#limits.replyTimeoutMs),
      );
    } catch (error) {
      return { status: 'failed', error: giveUpReason(error), suggestions: [] };
    }
  }

  /** Services the image describes; a name asks for one. Failure is a result, not an exception. */
  async getApps(name = '', options: ReplyOptions = {}): Promise<AppsResult> {
    try {
      return readApps(
        await this.#ask(this.#apps, REQUEST.getApps, textPayload(name), options, this.#limits.replyTimeoutMs),
      );
    } catch (error) {
      return { status: 'failed', error: giveUpReason(error), apps: [] };
    }
  }

  /** `{status: 'failed', error: 'timeout'}` or `'cancelled'` when the answer does not come in time. */
  startService(request: ServiceRequest, options: ReplyOptions = {}): Promise<ServiceResult> {
    return this.#start(this.#services, REQUEST.startService, request, options, this.#limits.serviceTimeoutMs);
  }

  /** As `startService`; `timeoutMs` depends on the model's health check, see `modelServiceTimeoutMs`. */
  startModelService(model: ModelDefinition, options: ReplyOptions = {}): Promise<ServiceResult> {
    return this.#start(
      this.#modelServices,
      REQUEST.startModelService,
      model,
      options,
      this.#limits.serviceTimeoutMs,
    );
  }

  /** Ends a service; an unknown name has no effect. There is no acknowledgement. */
  async shutdownService(name: string): Promise<void> {
    await this.#post(REQUEST.shutdownService, jsonPayload(name));
    await this.#pause(this.#noticesTakeMs?.shutdownService);
  }

  /** Tells the runner something, for example `oom`. */
  notify(type: string, data: Readonly<Record<string, unknown>> = {}): Promise<void> {
    return this.#post(REQUEST.event, jsonPayload({ type, data }));
  }

  /** Idempotent. The kernel goes on. */
  close(): Promise<void> {
    if (!this.closed) {
      this.#closing.abort(new RunnerClosedError(this.kernelId));
      this.#sockets.close();
    }
    return Promise.resolve();
  }

  #hear(message: RunnerMessage): void {
    const record = this.#records.read(message);
    if (record) {
      this.#board.accept(record);
      return;
    }
    switch (message.type) {
      case RESPONSE.status: {
        const reply = readStatus(message.payload);
        if (reply) {
          this.#board.settle(reply.pending, reply.lastExec);
          this.#isSettled = true;
          this.#settled.resolve(reply.status);
        }
        this.#reply(this.#statuses, message);
        break;
      }
      case RESPONSE.completion:
        this.#reply(this.#completions, message);
        break;
      case RESPONSE.serviceResult:
        this.#reply(this.#services, message);
        break;
      case RESPONSE.modelServiceResult:
        this.#reply(this.#modelServices, message);
        break;
      case RESPONSE.appsResult:
        this.#reply(this.#apps, message);
        break;
      case RESPONSE.modelServiceStatus: {
        const status = readModelStatus(message.payload);
        if (status) this.#onEvent({ type: 'model-service-status', ...status });
        break;
      }
      default:
        this.#logger.debug('an unknown message of the kernel runner was dropped', { type: message.type });
    }
  }

  /**
   * The first request of a link: its answer tells apart what the runner does for us and what it did before. Asked again
   * until it is answered, as an answer may have gone to an earlier link that was just closing.
   */
  async #introduce(): Promise<void> {
    while (!this.closed && !this.#isSettled)
      try {
        await this.#ask(this.#statuses, REQUEST.status, NO_PAYLOAD, {}, INTRODUCTION_MS);
      } catch (error) {
        if (!hasCode(error, 'TIMEOUT')) return;
      }
  }

  #reply(line: ReplyLine, { type, payload }: RunnerMessage): void {
    if (!line.answer(payload)) this.#logger.warn('a reply nobody asked for was dropped', { type });
  }

  async #start(
    line: ReplyLine,
    type: RequestType,
    request: object,
    options: ReplyOptions,
    defaultTimeoutMs: number,
  ): Promise<ServiceResult> {
    try {
      return readServiceResult(await this.#ask(line, type, jsonPayload(request), options, defaultTimeoutMs));
    } catch (error) {
      return { status: 'failed', error: giveUpReason(error) };
    }
  }

  async #ask(
    line: ReplyLine,
    type: RequestType,
    payload: Uint8Array,
    { timeoutMs, signal }: ReplyOptions,
    defaultTimeoutMs: number | undefined,
  ): Promise<Uint8Array> {
    this.#checkOpen();
    const send = () => {
      this.#sockets.send({ type, payload });
    };
    return await this.#untilClosed(signal, (ends) =>
      line.ask(send, { timeoutMs: timeoutMs ?? defaultTimeoutMs, signal: ends }),
    );
  }

  /** Hands out a signal that also follows the link's end, and tells closed from cancelled. */
  async #untilClosed<T>(
    signal: AbortSignal | undefined,
    work: (ends: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const ends = linkSignals(signal, this.#closing.signal);
    try {
      return await work(ends.signal);
    } catch (error) {
      this.#checkOpen();
      throw error;
    } finally {
      ends.release();
    }
  }

  /** Sends at once, so that the order of calls is the order on the wire. */
  #post(type: RequestType, payload: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#checkOpen();
      this.#sockets.send({ type, payload });
      resolve();
    });
  }

  /** Ends with the link, which is no failure: the message has been sent. */
  async #pause(ms = 0): Promise<void> {
    if (ms > 0) await this.#clock.sleep(ms, this.#closing.signal).catch(() => undefined);
  }

  #checkOpen(): void {
    if (this.closed) throw new RunnerClosedError(this.kernelId);
  }
}

/** Time limit for starting a model: as long as its health check may take, and some more (spec/kernel-runner.md 3.11). */
export function modelServiceTimeoutMs(
  healthCheck: {
    readonly maxRetries: number;
    readonly maxWaitTimeMs: number;
  } | null,
): number {
  return healthCheck === null ? 10_000 : healthCheck.maxRetries * healthCheck.maxWaitTimeMs + 10_000;
}

function giveUpReason(error: unknown): string {
  if (hasCode(error, 'TIMEOUT')) return 'timeout';
  if (hasCode(error, 'LIMIT_EXCEEDED')) return 'too many requests wait for the kernel runner';
  return 'cancelled';
}
