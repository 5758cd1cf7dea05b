import { Pull, Push } from 'zeromq';
import type { KernelHandle, RunnerEndpoints } from '../../src/backends/backend.js';
import { within } from '../../src/core/async.js';
import type { KernelId } from '../../src/core/ids.js';
import {
  jsonPayload,
  NO_PAYLOAD,
  parseFrames,
  REQUEST,
  RESPONSE,
  type RunnerMessage,
  statusPayload,
} from '../../src/kernel-runner/messages.js';
import { DEADLINE_MS } from './faulty-backend.js';

/**
 * The runners of containers that exist only in memory: each container has one, on real sockets, from the moment
 * somebody asks for its endpoints. It answers what every runner answers and leaves executions to the test.
 */
export class FakeRunners implements AsyncDisposable {
  readonly #runners = new Map<string, FakeRunner>();

  readonly endpointsOf = (handle: KernelHandle): RunnerEndpoints => {
    const key = `${handle.kernelId}-${String(handle.state['incarnation'])}`;
    let runner = this.#runners.get(key);
    if (!runner) {
      runner = new FakeRunner(handle.kernelId, key);
      this.#runners.set(key, runner);
    }
    return runner.endpoints;
  };

  /** The runner of the kernel's newest container. */
  of(kernelId: KernelId): FakeRunner {
    const runner = [...this.#runners.values()].filter((one) => one.kernelId === kernelId).at(-1);
    if (!runner) throw new Error(`kernel ${kernelId} has no runner`);
    return runner;
  }

  /** Ends the runners of all containers but these, so that a long test does not pile up sockets. */
  keepOnly(handles: readonly KernelHandle[]): void {
    const kept = new Set(handles.map(({ kernelId, state }) => `${kernelId}-${String(state['incarnation'])}`));
    for (const [key, runner] of this.#runners)
      if (!kept.has(key)) {
        runner.close();
        this.#runners.delete(key);
      }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.keepOnly([]);
    return Promise.resolve();
  }
}

export class FakeRunner {
  readonly kernelId: KernelId;
  readonly endpoints: RunnerEndpoints;
  /** Every request but `status` and `get-apps`, in order. */
  readonly received: RunnerMessage[] = [];
  /** Tasks that a status reply names as unfinished. */
  pending: readonly string[] = [];
  /** As a status reply names it. */
  lastExec: number | undefined;
  /** May become false: then it is silent, but keeps what it hears. */
  isAnswering = true;
  readonly #in = new Pull({ linger: 0 });
  readonly #out = new Push({ linger: 0 });
  readonly #watchers = new Set<() => void>();
  #sending: Promise<void>;

  constructor(kernelId: KernelId, name: string) {
    this.kernelId = kernelId;
    this.endpoints = { replIn: `inproc://${name}/in`, replOut: `inproc://${name}/out` };
    this.#sending = this.#out.bind(this.endpoints.replOut);
    this.#sending.catch(() => undefined);
    void this.#serve();
  }

  send(type: string, payload: Uint8Array = NO_PAYLOAD): void {
    this.#sending = this.#sending.then(() => this.#out.send([type, payload]));
    this.#sending.catch(() => undefined);
  }

  finish(exitCode: number): void {
    this.send(RESPONSE.finished, jsonPayload({ exitCode }));
  }

  /** Resolves once so many requests of a type have come in. */
  async heard(type: string, times = 1): Promise<void> {
    const heard = new Promise<void>((resolve) => {
      const watch = () => {
        if (this.received.filter((message) => message.type === type).length >= times) resolve();
      };
      this.#watchers.add(watch);
      watch();
    });
    await within(heard, { timeoutMs: DEADLINE_MS, what: `${String(times)} ${type} at the runner` });
  }

  close(): void {
    this.#in.close();
    this.#out.close();
  }

  async #serve(): Promise<void> {
    try {
      await this.#in.bind(this.endpoints.replIn);
      for await (const frames of this.#in) {
        const message = parseFrames(frames);
        if (!message) continue;
        if (message.type === REQUEST.status) this.#answer(RESPONSE.status, this.#status());
        else if (message.type === REQUEST.getApps)
          this.#answer(RESPONSE.appsResult, jsonPayload({ status: 'done', data: [] }));
        else this.received.push(message);
        for (const watch of this.#watchers) watch();
      }
    } catch {
      // Closed.
    }
  }

  #status(): Uint8Array {
    const { pending, lastExec } = this;
    return statusPayload({
      started_at: 1,
      pending,
      ...(lastExec === undefined ? {} : { last_exec: lastExec }),
    });
  }

  #answer(type: string, payload: Uint8Array): void {
    if (this.isAnswering) this.send(type, payload);
  }
}
