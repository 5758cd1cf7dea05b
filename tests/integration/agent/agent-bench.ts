import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AgentNode, HostedAgent, type HostedAgentParts } from '../../../src/agent/hosted-agent.js';
import type { CommitSettings } from '../../../src/agent/kernel-commits.js';
import { PortPool } from '../../../src/agent/port-pool.js';
import type { KernelBackend } from '../../../src/backends/backend.js';
import { type Clock, systemClock } from '../../../src/core/clock.js';
import { type AgentId, parseAgentId } from '../../../src/core/ids.js';
import { noMetrics } from '../../../src/core/metrics.js';
import type { EventSink } from '../../../src/events/catalogue.js';
import type { KernelLogs, LifecycleSettings } from '../../../src/kernels/lifecycle/parts.js';
import type { SessionNetworks } from '../../../src/kernels/networks/session-networks.js';
import {
  CpuPlugin,
  MemoryPlugin,
  NodeResources,
  type NodeResourcesOptions,
} from '../../../src/resources/index.js';
import { identifyProcess, sameProcess } from '../../../src/runtime/process-identity.js';
import { RecordedEvents } from '../../support/recorded-events.js';
import { RecordedLog } from '../../support/recorded-log.js';

export const NEVER: AbortSignal = new AbortController().signal;
const GIB = 1024n ** 3n;
const PORTS_EACH = 60;

export interface AgentBenchOptions {
  readonly agentIds?: readonly string[];
  readonly resources?: Partial<NodeResourcesOptions>;
  readonly settings?: Partial<LifecycleSettings>;
  readonly node?: Partial<AgentNode>;
  readonly commits?: Partial<CommitSettings>;
  readonly clock?: Clock;
  readonly events?: EventSink;
  readonly logs?: KernelLogs;
  readonly networks?: SessionNetworks;
  /** Of the agents' ports, which must really be free then: for kernels that listen on this machine. */
  readonly firstPort?: number;
  /** Of a bench that was there before: what a daemon finds that starts again. */
  readonly directory?: string;
}

/**
 * Agents as a daemon makes them, in one process and on one node, over the given backend. `stop` and a new bench on
 * the same directory are a restart of the daemon.
 */
export class AgentBench {
  readonly directory: string;
  readonly agents: readonly HostedAgent[];
  readonly pools: readonly PortPool[];
  readonly node: NodeResources;
  readonly events: RecordedEvents;
  readonly log: RecordedLog;
  readonly groups: [agentId: string, group: string][];

  private constructor(made: Omit<AgentBench, 'agent' | 'stop' | 'remove' | 'stateDirectoryOf'>) {
    this.directory = made.directory;
    this.agents = made.agents;
    this.pools = made.pools;
    this.node = made.node;
    this.events = made.events;
    this.log = made.log;
    this.groups = made.groups;
  }

  /** The first, or only, one. */
  get agent(): HostedAgent {
    const [first] = this.agents;
    if (!first) throw new Error('this bench has no agent');
    return first;
  }

  static async start(backend: KernelBackend, options: AgentBenchOptions = {}): Promise<AgentBench> {
    const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'spl-ab-')));
    const ids = (options.agentIds ?? ['i-one']).map(parseAgentId);
    const clock = options.clock ?? systemClock;
    const events = new RecordedEvents();
    const log = new RecordedLog();
    const groups: [string, string][] = [];
    const node = await NodeResources.create({
      plugins: [new CpuPlugin({ fixedCores: 8 }), new MemoryPlugin({ fixedBytes: 16n * GIB })],
      agents: ids.map((id) => ({ id })),
      mode: 'shared',
      reserved: { cpu: 0, memBytes: 0 },
      memoryAlignBytes: 16 * 1024 ** 2,
      allocationOrder: ['cuda', 'cpu', 'mem'],
      affinityPolicy: 'INTERLEAVED',
      logger: log,
      ...options.resources,
    });
    const pools: PortPool[] = [];
    const agents: HostedAgent[] = [];
    for (const [index, agentId] of ids.entries()) {
      const first = (options.firstPort ?? 40_000) + index * PORTS_EACH;
      const range = [first, first + PORTS_EACH - 1] as const;
      const probe = options.firstPort === undefined ? { probe: () => Promise.resolve(true) } : {};
      const ports = new PortPool({ range, clock, ...probe });
      pools.push(ports);
      const parts: HostedAgentParts = {
        agentId,
        backend,
        resources: node.forAgent(agentId),
        ports,
        events: options.events ?? events,
        ...(options.logs ? { logs: options.logs } : {}),
        ...(options.networks ? { networks: options.networks } : {}),
        clock,
        logger: log,
        metrics: noMetrics,
        node: {
          hardwareInfo: () => node.hardwareInfo(),
          gpuAllocMap: (id) => node.gpuAllocMap(id),
          saveScalingGroup: (id: AgentId, group: string) => {
            groups.push([id, group]);
            return Promise.resolve();
          },
          ...options.node,
        },
        commits: {
          root: join(directory, 'commits'),
          timeoutMs: null,
          holders: {
            self: (await identifyProcess(process.pid)) ?? { pid: process.pid, start: null },
            isAlive: async (holder) => {
              const now = await identifyProcess(holder.pid);
              return now !== null && sameProcess(holder, now);
            },
          },
          ...options.commits,
        },
        stateDirectory: AgentBench.stateDirectoryOf(directory, agentId),
        journalDirectory: join(directory, 'state'),
        scalingGroup: 'default',
        settings: {
          scratchRoot: join(directory, 'scratches'),
          bindHost: '127.0.0.1',
          advertisedHost: null,
          architecture: 'x86_64',
          kernelUid: null,
          kernelGid: null,
          creationConcurrency: 4,
          readiness: { attempts: 20, attemptTimeoutMs: 25_000, totalTimeoutMs: 25_000, intervalMs: 20 },
          pullTimeoutMs: null,
          stopGraceMs: 5_000,
          ...options.settings,
        },
      };
      const agent = await HostedAgent.start(parts);
      await agent.announce();
      agents.push(agent);
    }
    return new AgentBench({ directory, agents, pools, node, events, log, groups });
  }

  static stateDirectoryOf(directory: string, agentId: string): string {
    return join(directory, 'state', 'agents', agentId);
  }

  /** As the daemon does: kernels go on running. */
  async stop(): Promise<void> {
    for (const agent of this.agents) await agent.stop();
    await this.node.close();
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}
