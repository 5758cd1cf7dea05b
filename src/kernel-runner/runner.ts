import type { Complain } from './complaint.js';
import { messageOf } from './complaint.js';
import {
  jsonPayload,
  parseFrames,
  parseJson,
  parseText,
  REQUEST,
  RESPONSE,
  statusPayload,
} from './messages.js';
import type { RunnerMessage } from './messages.js';
import type { Outgoing } from './outgoing.js';
import type { Runtime } from './runtimes/runtime.js';
import type { ServiceBoard } from './services/service-board.js';
import type { TaskQueue } from './tasks.js';
import type { InputRequests } from './user-input.js';

export interface KernelRunnerParts {
  readonly outgoing: Outgoing;
  readonly tasks: TaskQueue;
  readonly inputs: InputRequests;
  readonly runtime: Runtime;
  readonly services: ServiceBoard;
  readonly complain: Complain;
}

/** Turns what the agent sends into work (spec/kernel-runner.md 2.1). Bad messages are logged and dropped. */
export class KernelRunner {
  readonly #parts: KernelRunnerParts;
  readonly #startedAtSeconds = monotonicSeconds();

  constructor(parts: KernelRunnerParts) {
    this.#parts = parts;
  }

  handle(frames: readonly Uint8Array[]): void {
    const message = parseFrames(frames);
    if (!message) {
      this.#parts.complain('a message that is none was dropped', { frames: frames.length });
      return;
    }
    const text = parseText(message.payload);
    if (text === undefined) {
      this.#parts.complain('a message that is not UTF-8 was dropped', { type: message.type });
      return;
    }
    try {
      this.#dispatch(message, text);
    } catch (error) {
      this.#parts.complain('a message could not be handled', { type: message.type, error: messageOf(error) });
    }
  }

  #dispatch(message: RunnerMessage, text: string): void {
    const { outgoing, tasks, inputs, runtime, services } = this.#parts;
    switch (message.type) {
      case REQUEST.clean:
      case REQUEST.build:
      case REQUEST.exec:
      case REQUEST.code:
        tasks.add(message.type, text);
        break;
      case REQUEST.input:
        if (!inputs.answer(text)) this.#parts.complain('input that nothing waits for was dropped');
        break;
      case REQUEST.interrupt:
        tasks.interrupt();
        break;
      case REQUEST.status:
        outgoing.post(
          RESPONSE.status,
          statusPayload({
            started_at: this.#startedAtSeconds,
            pending: tasks.pending,
            ...(tasks.lastExec === undefined ? {} : { last_exec: tasks.lastExec }),
          }),
        );
        break;
      case REQUEST.complete: {
        const request = this.#object(message);
        if (!request) break;
        const code = typeof request['code'] === 'string' ? request['code'] : '';
        void runtime.complete(code).then((suggestions) => {
          outgoing.post(RESPONSE.completion, jsonPayload({ suggestions }));
        });
        break;
      }
      case REQUEST.event: {
        const event = this.#object(message);
        if (event?.['type'] === 'oom')
          this.#parts.complain('the system has killed a process of this kernel for lack of memory');
        else if (event) this.#parts.complain('event', { type: event['type'], data: event['data'] });
        break;
      }
      case REQUEST.startService: {
        const request = this.#object(message);
        if (request) services.start(request);
        break;
      }
      case REQUEST.startModelService: {
        const model = this.#object(message);
        if (model) services.startModel(model);
        break;
      }
      case REQUEST.shutdownService: {
        const name = parseJson(message.payload);
        if (typeof name === 'string') services.shutdown(name);
        else this.#parts.complain('a malformed request was dropped', { type: message.type });
        break;
      }
      case REQUEST.getApps:
        outgoing.post(RESPONSE.appsResult, jsonPayload({ status: 'done', data: services.apps(text) }));
        break;
      default:
        // An unknown type is ignored: a newer agent may know more than this runner.
        break;
    }
  }

  #object(message: RunnerMessage): Readonly<Record<string, unknown>> | undefined {
    const value = parseJson(message.payload);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Readonly<Record<string, unknown>>;
    this.#parts.complain('a malformed request was dropped', { type: message.type });
    return undefined;
  }
}

function monotonicSeconds(): number {
  return Number(process.hrtime.bigint()) / 1e9;
}
