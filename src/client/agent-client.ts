import pRetry from 'p-retry';
import type { z } from 'zod';
import { CancelledError, messageOf, ValueError } from '../core/errors.js';
import { silentLogger } from '../core/logger.js';
import type { Logger } from '../core/logger.js';
import type { CallArguments } from '../rpc/method.js';
import { findMethod } from '../rpc/method-table.js';
import type { MethodName, RowOf } from '../rpc/method-table.js';
import { encodeCall } from './call-encoding.js';
import { ConnectionPool } from './connection-pool.js';
import type { ConnectionTarget } from './connection-pool.js';
import { isPassing, UnexpectedResultError } from './errors.js';
import { kernelCreationArguments } from './kernel-spec.js';
import type { KernelSpec } from './kernel-spec.js';
import { run } from './run.js';
import type { RunEvent, RunRequest } from './run.js';

export type ArgumentsFor<Name extends MethodName> = CallArguments<RowOf<Name>['params']>;
export type ResultOf<Name extends MethodName> = z.output<RowOf<Name>['returns']>;

export interface CallOptions {
  /** Limit of each attempt; null: none. Default: by method, see `defaultTimeoutMs`. */
  readonly timeoutMs?: number | null;
  /** Aborting cancels the call on the other side too. */
  readonly signal?: AbortSignal;
}

export interface AgentClientOptions extends ConnectionTarget {
  /** The agent that calls are for; null: the daemon's default agent, and all agents for `list_kernels`. */
  readonly agentId?: string | null;
  /** Shared with other clients; absent: one of its own, closed with the client. */
  readonly pool?: ConnectionPool;
  /** Of calls that are safe to repeat, when they fail for a passing reason. Default: 2 more, from 100 ms on. */
  readonly retries?: { readonly count: number; readonly firstDelayMs: number; readonly maxDelayMs: number };
  readonly timeoutsMs?: Readonly<Record<string, number | null | undefined>>;
  readonly logger?: Logger;
}

const DEFAULT_RETRIES = { count: 2, firstDelayMs: 100, maxDelayMs: 2000 };
const SECOND_MS = 1000;
/** As the 25.17 manager has them, whose session start as a whole is bounded by half an hour. */
const TIMEOUTS_MS: Readonly<Record<string, number | undefined>> = {
  ping: 5 * SECOND_MS,
  get_completions: 10 * SECOND_MS,
  execute: 30 * SECOND_MS,
  trigger_batch_execution: 30 * SECOND_MS,
  interrupt_kernel: 30 * SECOND_MS,
  list_files: 30 * SECOND_MS,
  get_logs: 30 * SECOND_MS,
  create_kernels: 1800 * SECOND_MS,
  restart_kernel: 1800 * SECOND_MS,
  reset_agent: 1800 * SECOND_MS,
};

/** For the function's own limit when the caller gives none. */
export function defaultTimeoutMs(method: string): number {
  return TIMEOUTS_MS[method] ?? 120 * SECOND_MS;
}

/**
 * The manager's side of the protocol, bound to one agent of a daemon. Every function of the method table is a `call`;
 * the common ones have methods of their own. Failures of the other side are `RemoteUserError`s with its class name
 * and repr.
 */
export class AgentClient {
  readonly agentId: string | null;
  readonly #target: ConnectionTarget;
  readonly #pool: ConnectionPool;
  readonly #ownsPool: boolean;
  readonly #options: AgentClientOptions;
  readonly #logger: Logger;

  constructor(options: AgentClientOptions) {
    const { address, curve } = options;
    this.#options = options;
    this.agentId = options.agentId ?? null;
    this.#target = { address, ...(curve && { curve }) };
    this.#logger = options.logger ?? silentLogger;
    this.#ownsPool = options.pool === undefined;
    this.#pool = options.pool ?? new ConnectionPool({ logger: this.#logger });
  }

  /** The same daemon and connection, another agent. The connection still belongs to this client. */
  withAgent(agentId: string | null): AgentClient {
    return new AgentClient({ ...this.#options, agentId, pool: this.#pool });
  }

  /**
   * Calls a function of the table with its arguments by name.
   * @throws RemoteUserError, RemoteInternalError, TimeoutError, CancelledError, HandshakeError, PeerClosedError,
   * UnexpectedResultError.
   */
  async call<Name extends MethodName>(
    name: Name,
    args: ArgumentsFor<Name>,
    options: CallOptions = {},
  ): Promise<ResultOf<Name>> {
    return (await this.callByName(name, args, options)) as ResultOf<Name>;
  }

  /**
   * The same for a name that is only known at run time; arguments and result are checked against the table all the
   * same.
   * @throws ValueError for a name that is not in the table, and what `call` throws.
   */
  async callByName(
    name: string,
    args: Readonly<Record<string, unknown>>,
    options: CallOptions = {},
  ): Promise<unknown> {
    const method = findMethod(name);
    if (!method) throw new ValueError(`${name} is not in the method table`);
    const body = encodeCall(method, args, this.agentId);
    const timeoutMs = this.#timeoutOf(name, options.timeoutMs);
    const attempt = () =>
      this.#pool.use(this.#target, (peer) =>
        peer.invoke(name, body, {
          ...(timeoutMs !== null && { timeoutMs }),
          ...(options.signal && { signal: options.signal }),
        }),
      );
    const result =
      method.repeat === 'safe' ? await this.#repeat(name, attempt, options.signal) : await attempt();
    const parsed = method.returns.safeParse(result);
    if (!parsed.success)
      throw new UnexpectedResultError(`${name}: the result is not as documented: ${parsed.error.message}`);
    return parsed.data;
  }

  /** Echoes the text. */
  async ping(text = 'ping', options?: CallOptions): Promise<string> {
    return String(await this.call('ping', { msg: text }, options));
  }

  /** Creates one kernel in a session of its own, unless the spec names one; the least it needs is an image. */
  async createKernel(spec: KernelSpec, options?: CallOptions): Promise<CreatedKernel> {
    const args = kernelCreationArguments(spec);
    const [result] = await this.call('create_kernels', args, options);
    if (!result) throw new UnexpectedResultError('create_kernels: the result is empty');
    return { sessionId: args.raw_session_id, kernelId: result.id, result };
  }

  /** Resolves when the kernel is gone and cleaned up; also when it was not there. */
  async destroyKernel(
    kernel: { readonly kernelId: string; readonly sessionId: string; readonly reason?: string },
    options?: CallOptions,
  ): Promise<void> {
    const { kernelId, sessionId, reason = 'user-requested' } = kernel;
    await this.call('destroy_kernel', { kernel_id: kernelId, session_id: sessionId, reason }, options);
  }

  /** Runs code to its end and yields what it writes as it comes. Leaving the loop early interrupts the code. */
  run(request: RunRequest): AsyncGenerator<RunEvent, void, undefined> {
    return run(this, request);
  }

  async interrupt(kernelId: string, options?: CallOptions): Promise<void> {
    await this.call('interrupt_kernel', { kernel_id: kernelId }, options);
  }

  async logs(kernelId: string, options?: CallOptions): Promise<string> {
    return (await this.call('get_logs', { kernel_id: kernelId }, options)).logs;
  }

  async uploadFile(kernelId: string, path: string, data: Uint8Array, options?: CallOptions): Promise<void> {
    await this.call('upload_file', { kernel_id: kernelId, filename: path, filedata: data }, options);
  }

  async downloadFile(kernelId: string, path: string, options?: CallOptions): Promise<Uint8Array> {
    return await this.call('download_single', { kernel_id: kernelId, filepath: path }, options);
  }

  /** Of this client's agent; without one, of every agent of the daemon. */
  async listKernels(options?: CallOptions): Promise<ResultOf<'list_kernels'>> {
    return await this.call('list_kernels', {}, options);
  }

  async describeKernel(kernelId: string, options?: CallOptions): Promise<ResultOf<'describe_kernel'>> {
    return await this.call('describe_kernel', { kernel_id: kernelId }, options);
  }

  /** Closes the connection unless the pool was given by the caller. */
  async close(): Promise<void> {
    if (this.#ownsPool) await this.#pool.close();
  }

  #timeoutOf(name: string, given: number | null | undefined): number | null {
    if (given !== undefined) return given;
    const configured = this.#options.timeoutsMs?.[name];
    return configured === undefined ? defaultTimeoutMs(name) : configured;
  }

  async #repeat(
    name: string,
    attempt: () => Promise<unknown>,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    const { count, firstDelayMs, maxDelayMs } = this.#options.retries ?? DEFAULT_RETRIES;
    try {
      return await pRetry(attempt, {
        retries: count,
        minTimeout: firstDelayMs,
        maxTimeout: maxDelayMs,
        randomize: true,
        shouldRetry: ({ error }) => isPassing(error),
        onFailedAttempt: ({ error, retriesLeft }) => {
          this.#logger.debug('an attempt failed', { method: name, retriesLeft, error: messageOf(error) });
        },
        ...(signal && { signal }),
      });
    } catch (error) {
      if (signal?.aborted === true) throw new CancelledError(`${name}: cancelled`, { cause: error });
      throw error;
    }
  }
}

export interface CreatedKernel {
  readonly sessionId: string;
  readonly kernelId: string;
  readonly result: ResultOf<'create_kernels'>[number];
}
