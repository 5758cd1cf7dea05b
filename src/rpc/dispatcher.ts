import type { Agent } from '../agent/agent.js';
import { UnknownMethodError } from '../callosum/index.js';
import type { ErrorDescription, IncomingCall } from '../callosum/index.js';
import type { Clock } from '../core/clock.js';
import { systemClock } from '../core/clock.js';
import { hasCode, messageOf, ValueError } from '../core/errors.js';
import type { AgentId, KernelId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { silentLogger } from '../core/logger.js';
import { counterSeries, noMetrics } from '../core/metrics.js';
import type { CounterSeries, Metrics } from '../core/metrics.js';
import { bindArguments, signatureOf } from './binding.js';
import type { Signature } from './binding.js';
import { createRpcErrorDescriber, severityOf } from './error-description.js';
import type { AgentContext, ManagerVersion, Method, NodeContext, Parameter } from './method.js';
import { methodsFor, parametersOf, routesToAgent } from './method-table.js';
import type { NodeServices } from './node-services.js';
import { readRequestBody } from './request-body.js';
import type { RequestBody } from './request-body.js';
import { declareRpcMetrics } from './rpc-metrics.js';
import type { RpcMetrics } from './rpc-metrics.js';
import { parseWire } from './wire/parse.js';

export interface DispatcherOptions {
  readonly node: NodeServices;
  readonly managerVersion: ManagerVersion;
  /** Longest run of a call by method, 0 for none; whoever meets it gets a `TimeoutError`. */
  readonly deadlines?: CallDeadlines;
  /**
   * Told of every failed call but cancelled ones, with the agent it was for: the `agent_error` event
   * (spec/rpc-functions.md 1.5). The caller's answer does not wait for it and does not depend on it.
   */
  readonly onAgentError?: (agentId: AgentId, error: AgentErrorReport) => Promise<void>;
  /** Tracebacks show stack frames with file paths. */
  readonly debug?: boolean;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
  readonly clock?: Clock;
}

/** Kept by the peer in front of the dispatcher. */
export interface CallDeadlines {
  /** For methods without one of their own; null: none. */
  readonly defaultMs: number | null;
  readonly byMethodMs: Readonly<Record<string, number>>;
}

export interface AgentErrorReport {
  /** Class name and text. */
  readonly message: string;
  /** Null outside debug mode. */
  readonly traceback: string | null;
}

interface Served {
  readonly method: Method;
  readonly parameters: readonly Parameter[];
  /** Those that the method's handler takes. */
  readonly own: readonly Parameter[];
  /** The one that names the agent, of an agent's method. */
  readonly agentId: Parameter | undefined;
  /** The one that names the kernel, of an agent's method that works on one. */
  readonly kernelId: Parameter | undefined;
  readonly signature: Signature;
  readonly requests: CounterSeries;
}

/** What is known of a call by the time it ends, for its log line and its error event. */
interface CallRecord {
  request: RequestBody | undefined;
  agent: Agent | undefined;
  readonly startedMs: number;
}

/** Label of calls whose method does not exist: a caller must not be able to make series. */
const UNKNOWN = '(unknown)';

/** Calls -> agents: finds the method, binds and parses its arguments, routes it and accounts for it. */
export class Dispatcher {
  readonly describeError: (error: unknown) => ErrorDescription;
  readonly managerVersion: ManagerVersion;
  readonly deadlines: CallDeadlines;
  readonly #options: DispatcherOptions;
  readonly #methods: ReadonlyMap<string, Served>;
  readonly #metrics: RpcMetrics;
  readonly #logger: Logger;
  readonly #clock: Clock;

  constructor(options: DispatcherOptions) {
    const { managerVersion, debug = false } = options;
    this.#options = options;
    this.managerVersion = managerVersion;
    this.deadlines = options.deadlines ?? { defaultMs: null, byMethodMs: {} };
    this.describeError = createRpcErrorDescriber({ managerVersion, debug });
    this.#metrics = declareRpcMetrics(options.metrics ?? noMetrics);
    this.#logger = options.logger ?? silentLogger;
    this.#clock = options.clock ?? systemClock;
    this.#methods = new Map(
      methodsFor(managerVersion).map((method) => {
        const parameters = parametersOf(method);
        const signature = signatureOf(method.name, parameters, managerVersion);
        const own = parameters.filter((parameter) => !routesToAgent(parameter));
        const agentId = parameters.find(routesToAgent);
        const kernelId = own.find(({ name }) => name === 'kernel_id');
        const requests = counterSeries(this.#metrics.requests, { method: method.name });
        return [method.name, { method, parameters, own, agentId, kernelId, signature, requests }];
      }),
    );
  }

  /**
   * Serves one call: its result, or a promise where the handler made one; what is thrown or rejected is the caller's
   * answer.
   * @throws UnknownMethodError, KeyError for a body without its keys or an argument without one of its own,
   * PythonTypeError for arguments that do not bind, AgentIdNotFoundError, and whatever the agent throws.
   */
  handle(call: IncomingCall): unknown {
    const served = this.#methods.get(call.method);
    const record: CallRecord = { request: undefined, agent: undefined, startedMs: this.#clock.monotonicMs() };
    let result: unknown;
    try {
      if (!served) throw new UnknownMethodError(call.method);
      result = this.#serve(served, call, record);
    } catch (error) {
      this.#onFailure(served, call, record, error);
      throw error;
    }
    if (isPromise(result)) return this.#follow(served, call, record, result);
    this.#onSuccess(served, call, record);
    return result;
  }

  async #follow(
    served: Served,
    call: IncomingCall,
    record: CallRecord,
    work: PromiseLike<unknown>,
  ): Promise<unknown> {
    let result: unknown;
    try {
      result = await untilAborted(work, call);
    } catch (error) {
      this.#onFailure(served, call, record, error);
      throw error;
    }
    this.#onSuccess(served, call, record);
    return result;
  }

  #serve(served: Served, call: IncomingCall, record: CallRecord): unknown {
    const request = readRequestBody(call.body);
    record.request = request;
    const raw = bind(served, request);
    const { method, own } = served;
    if (method.target === 'agent') record.agent = this.#route(served, raw);
    const args: Record<string, unknown> = {};
    for (const parameter of own)
      args[parameter.name] = parseWire(parameter.schema, raw.get(parameter), parameter.name);
    const context = new CallContext(this.#options, record.agent, call);
    // The row's own parameters have just parsed what its handler takes.
    return method.target === 'node'
      ? method.handler(args as never, context)
      : method.handler(args as never, context as AgentContext);
  }

  /**
   * To the agent that the call names. One that names a kernel and no agent goes where the kernel is: a 25.17 manager
   * starts batch jobs that way (spec/rpc-functions.md 1.4; docs/decisions/0009).
   */
  #route({ agentId, kernelId }: Served, raw: ReadonlyMap<Parameter, unknown>): Agent {
    const { agents } = this.#options.node;
    const id = agentId ? (parseWire(agentId.schema, raw.get(agentId), agentId.name) as string | null) : null;
    if (id === null && kernelId) {
      const kernel = kernelId.schema.safeParse(raw.get(kernelId));
      const owner = kernel.success ? agents.findOwner(kernel.data as KernelId) : undefined;
      if (owner) return owner;
    }
    return agents.getAgent(id);
  }

  #onSuccess(served: Served, call: IncomingCall, record: CallRecord): void {
    const ms = this.#observe(served, record);
    if (this.#logger.enables?.('debug') !== false)
      this.#logger.debug('call served', this.#facts(call, record, ms));
  }

  /** @returns how long the call took, in milliseconds. */
  #observe(served: Served | undefined, { startedMs }: CallRecord): number {
    const ms = this.#clock.monotonicMs() - startedMs;
    const method = served ? served.method.name : UNKNOWN;
    if (served) served.requests.increment();
    else this.#metrics.requests.increment({ method });
    this.#metrics.durations.observe(ms / 1000, { method });
    return ms;
  }

  #onFailure(served: Served | undefined, call: IncomingCall, record: CallRecord, error: unknown): void {
    const method = served ? served.method.name : UNKNOWN;
    const ms = this.#observe(served, record);
    const description = this.describeError(error);
    this.#metrics.failures.increment({ method, exception: description.name });
    this.#logger[severityOf(error)]('call failed', {
      ...this.#facts(call, record, ms),
      exception: description.name,
      error: messageOf(error),
      ...(severityOf(error) === 'error' && { stack: stackOf(error) }),
    });
    if (served && served.method.flavour !== 'v3' && !hasCode(error, 'CANCELLED'))
      this.#reportAgentError(record, description, error);
  }

  #reportAgentError(record: CallRecord, description: ErrorDescription, error: unknown): void {
    const { onAgentError, debug = false } = this.#options;
    const agent = record.agent ?? this.#agentNamedBy(record.request);
    if (!onAgentError || !agent) return;
    const report: AgentErrorReport = {
      message: `${description.name}: ${messageOf(error)}`,
      traceback: debug ? description.traceback : null,
    };
    onAgentError(agent.id, report).catch((failure: unknown) => {
      this.#logger.warn('an agent error could not be announced', {
        agentId: agent.id,
        error: messageOf(failure),
      });
    });
  }

  /** For calls that failed before they were routed. An id that is not hosted has nobody to speak for it. */
  #agentNamedBy(request: RequestBody | undefined): Agent | undefined {
    const id = request?.kwargs.get('agent_id') ?? null;
    if (typeof id !== 'string' && id !== null) return undefined;
    try {
      return this.#options.node.agents.getAgent(id);
    } catch {
      return undefined;
    }
  }

  #facts(call: IncomingCall, record: CallRecord, ms: number): Record<string, unknown> {
    const { requestId = null, traceparent = null } = record.request?.metadata ?? {};
    return {
      method: call.method.slice(0, 100),
      peer: call.peer,
      ms: Math.round(ms * 1000) / 1000,
      ...(record.agent && { agentId: record.agent.id }),
      ...(requestId !== null && { requestId }),
      ...(traceparent !== null && { traceparent }),
    };
  }
}

/** Raw values by parameter: Python's binding, or the envelope of v3 (spec/rpc-functions.md 2.3). */
function bind(
  { method, parameters, signature }: Served,
  request: RequestBody,
): ReadonlyMap<Parameter, unknown> {
  if (method.flavour === 'v1') return bindArguments(signature, request.args, request.kwargs);
  return new Map(
    parameters.map((parameter) => {
      if (!request.kwargs.has(parameter.name) && !parameter.optional)
        throw new ValueError(`v3 RPC body is missing the '${parameter.name}' envelope field`);
      return [parameter, request.kwargs.get(parameter.name) ?? parameter.defaultValue];
    }),
  );
}

/** What a handler may use; its signal is made when a handler asks for it. */
class CallContext implements NodeContext {
  readonly node: NodeServices;
  readonly managerVersion: ManagerVersion;
  readonly agent: Agent | undefined;
  readonly #call: IncomingCall;

  constructor({ node, managerVersion }: DispatcherOptions, agent: Agent | undefined, call: IncomingCall) {
    this.node = node;
    this.managerVersion = managerVersion;
    this.agent = agent;
    this.#call = call;
  }

  get signal(): AbortSignal {
    return this.#call.signal;
  }
}

/**
 * The work's result, or the signal's reason as soon as it aborts: the answer does not wait for a handler that cannot
 * be cancelled, which goes on by itself.
 */
function untilAborted<Result>(work: PromiseLike<Result>, call: IncomingCall): Promise<Result> {
  return new Promise((resolve, reject) => {
    call.onAbort(reject);
    work.then(resolve, reject);
  });
}

/** By shape: a promise may come from another realm. */
function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

function stackOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'stack' in error ? error.stack : undefined;
}
