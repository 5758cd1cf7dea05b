import Docker from 'dockerode';
import { deferred, within } from '../../core/async.js';
import { EngineAgent } from './engine-agent.js';
import { engineFailure, statusOf } from './engine-failures.js';

export interface EngineOptions {
  /** Path of the engine's socket. Null: what `DOCKER_HOST` says, or the usual place. */
  readonly socketPath: string | null;
  /** For what an engine answers at once. Default 30 s. */
  readonly quickMs?: number;
  /** For creating, starting and removing. Default 90 s. */
  readonly slowMs?: number;
}

export interface CallOptions {
  /** Default: that of quick calls. */
  readonly timeoutMs?: number;
  /** HTTP statuses that are answers and not failures. Default: none. */
  readonly fine?: readonly number[];
}

/**
 * The way to the container engine. A call has a deadline, so that an engine that hangs is an error and not a wait,
 * and is given up with it.
 *
 * Calls throw DockerUnavailableError when the engine cannot be reached, TimeoutError when it does not answer,
 * EngineError when it refuses.
 */
export class EngineConnection {
  /** For what has no deadline of its own: its user sees to that and to `engineFailure`. */
  readonly docker: Docker;
  readonly quickMs: number;
  readonly slowMs: number;

  constructor(options: EngineOptions) {
    const place = options.socketPath === null ? {} : { socketPath: options.socketPath, host: undefined };
    const settings = { ...place, agent: new EngineAgent() };
    this.docker = new Docker(settings);
    this.quickMs = options.quickMs ?? 30_000;
    this.slowMs = options.slowMs ?? 90_000;
  }

  /** Null for an HTTP status that counts as an answer. `what` it was doing stands in the error. */
  async call(
    what: string,
    run: (docker: Docker, signal: AbortSignal) => Promise<unknown>,
    { timeoutMs = this.quickMs, fine = [] }: CallOptions = {},
  ): Promise<unknown> {
    const controller = new AbortController();
    const work = run(this.docker, controller.signal);
    work.catch(() => undefined);
    try {
      return await within(work, { timeoutMs, what });
    } catch (error) {
      controller.abort();
      if (fine.some((status) => statusOf(error) === status)) return null;
      throw engineFailure(what, error);
    }
  }

  /** The body of an answer as it comes, which the client library would read as something else. */
  get(path: string, signal: AbortSignal): Promise<AsyncIterable<unknown>> {
    const { modem } = this.docker as { modem: Docker['modem'] };
    const answer = deferred<AsyncIterable<unknown>>();
    const statusCodes = { 200: true, 404: 'no such container', 409: 'conflict', 500: 'server error' };
    const request = { path, method: 'GET', abortSignal: signal, isStream: true, statusCodes };
    modem.dial(request, (error: unknown, stream: unknown) => {
      if (error === null || error === undefined) answer.resolve(stream as AsyncIterable<unknown>);
      else answer.reject(error);
    });
    return answer.promise;
  }
}
