import type { Agent } from '../agent/agent.js';
import { KeyError, messageOf } from '../core/errors.js';
import type { AgentId, KernelId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { AggregateKernelRegistry } from '../kernels/aggregate-kernel-registry.js';
import { describeKernel } from '../kernels/kernel-description.js';
import type { KernelDescription } from '../kernels/requests.js';
import { AgentIdNotFoundError, AgentStartError } from './errors.js';

/** Makes one agent. The runtime neither knows nor cares what it is made of. */
export interface AgentFactory {
  readonly id: AgentId;
  /** Resolves once the agent can take calls. A failure has cleaned up after itself. */
  start(): Promise<StartedAgent>;
}

export interface StartedAgent {
  readonly agent: Agent;
  /** Lets go of everything; kernels go on running. */
  stop(): Promise<void>;
}

export interface AgentRuntimeOptions {
  /** At least one, in configuration order; the first is the default agent. */
  readonly agents: readonly AgentFactory[];
  /** `abort`: one agent that does not start stops the others and fails the creation. `continue`: go on without it. */
  readonly startFailure: 'abort' | 'continue';
  /** To hold the kernels of all agents, for parts that are there before the agents. Absent: a new one. */
  readonly kernels?: AggregateKernelRegistry;
  readonly logger: Logger;
}

interface Hosted {
  readonly id: AgentId;
  readonly started: StartedAgent;
  /** Takes its kernels out of the view of all kernels. */
  readonly detach: () => void;
}

/** The agents of this process: finds them by id, starts them together and stops them one after another. */
export class AgentRuntime {
  /** Kernels of all agents, live. */
  readonly kernels: AggregateKernelRegistry;
  /** Agents that did not start, with what they threw. */
  readonly failures: ReadonlyMap<AgentId, unknown>;
  readonly #hosted: ReadonlyMap<string, Hosted>;
  readonly #defaultId: AgentId;
  readonly #logger: Logger;
  #stopping: Promise<void> | undefined;

  private constructor(
    options: AgentRuntimeOptions,
    defaultId: AgentId,
    started: {
      readonly kernels: AggregateKernelRegistry;
      readonly hosted: readonly Hosted[];
      readonly failures: ReadonlyMap<AgentId, unknown>;
    },
  ) {
    this.kernels = started.kernels;
    this.failures = started.failures;
    this.#hosted = new Map(started.hosted.map((hosted) => [hosted.id, hosted]));
    this.#defaultId = defaultId;
    this.#logger = options.logger;
  }

  /**
   * Starts all agents at the same time.
   * @throws AgentStartError naming the agents that failed: any with `abort`, all of them with `continue`. Those that
   * had started are stopped again.
   */
  static async create(options: AgentRuntimeOptions): Promise<AgentRuntime> {
    const { agents, startFailure, kernels = new AggregateKernelRegistry(), logger } = options;
    const [first] = agents;
    if (!first) throw new AgentStartError('no agent is configured: there must be at least one');
    const outcomes = await Promise.allSettled(agents.map((factory) => factory.start()));
    const hosted: Hosted[] = [];
    const failures = new Map<AgentId, unknown>();
    for (const [index, { id }] of agents.entries()) {
      const outcome = outcomes[index];
      try {
        if (outcome?.status !== 'fulfilled') throw outcome?.reason;
        // In configuration order, whoever was ready first: queries list the kernels in this order.
        hosted.push(await attach(id, outcome.value, kernels));
      } catch (error) {
        failures.set(id, error);
        logger.error('an agent did not start', { agentId: id, error: messageOf(error) });
      }
    }
    if (failures.size > 0 && (startFailure === 'abort' || hosted.length === 0)) {
      await stopAll(hosted, logger).catch((error: unknown) => {
        logger.error('stopping the agents that had started failed', { error: messageOf(error) });
      });
      const list = [...failures].map(([id, error]) => `${id}: ${messageOf(error)}`);
      throw new AgentStartError(`agents did not start: ${list.join('; ')}`, {
        cause: [...failures.values()][0],
        details: { agentIds: [...failures.keys()] },
      });
    }
    return new AgentRuntime(options, first.id, { kernels, hosted, failures });
  }

  /** Running agents in configuration order. */
  listAgents(): readonly Agent[] {
    return [...this.#hosted.values()].map(({ started }) => started.agent);
  }

  /**
   * Null: the default agent, the first one of the configuration.
   * @throws AgentIdNotFoundError also for one that is configured but did not start.
   */
  getAgent(id: string | null): Agent {
    const asked = id ?? this.#defaultId;
    const hosted = this.#hosted.get(asked);
    if (!hosted) throw new AgentIdNotFoundError(asked, [...this.#hosted.keys()]);
    return hosted.started.agent;
  }

  /** The agent that has this kernel, in whatever state; undefined: nobody. */
  findOwner(kernelId: KernelId): Agent | undefined {
    const owner = this.kernels.find(kernelId)?.agentId;
    return owner && this.#hosted.get(owner)?.started.agent;
  }

  /** Descriptions of the kernels of one agent, or with null of every agent. @throws AgentIdNotFoundError */
  listKernels(agentId: string | null): readonly KernelDescription[] {
    const kernels = agentId === null ? this.kernels : this.getAgent(agentId).kernels;
    return [...kernels].map(describeKernel);
  }

  /** @throws AgentIdNotFoundError, or KeyError for a kernel that is not there. */
  describeKernel(kernelId: KernelId, agentId: string | null): KernelDescription {
    const kernels = agentId === null ? this.kernels : this.getAgent(agentId).kernels;
    const kernel = kernels.find(kernelId);
    if (!kernel) throw new KeyError(kernelId);
    return describeKernel(kernel);
  }

  /**
   * Stops the agents one after another in configuration order; one that fails does not keep the others from it.
   * Idempotent.
   * @throws AggregateError with the failures.
   */
  stop(): Promise<void> {
    this.#stopping ??= stopAll([...this.#hosted.values()], this.#logger);
    return this.#stopping;
  }
}

/** Refuses an agent with a kernel that a sibling has already brought back: two agents must never drive one kernel. */
async function attach(id: AgentId, started: StartedAgent, kernels: AggregateKernelRegistry): Promise<Hosted> {
  try {
    return { id, started, detach: kernels.attach(started.agent.kernels) };
  } catch (error) {
    await started.stop();
    throw error;
  }
}

async function stopAll(hosted: readonly Hosted[], logger: Logger): Promise<void> {
  const failures: Error[] = [];
  for (const { id, started, detach } of hosted) {
    try {
      await started.stop();
      logger.info('agent stopped', { agentId: id });
    } catch (error) {
      failures.push(new Error(`stopping agent ${id}: ${messageOf(error)}`, { cause: error }));
    }
    detach();
  }
  if (failures.length > 0) throw new AggregateError(failures, failures.map((f) => f.message).join('; '));
}
