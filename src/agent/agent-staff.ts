import type { KernelBackend } from '../backends/backend.js';
import type { Clock } from '../core/clock.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Metrics } from '../core/metrics.js';
import type { EventSink } from '../events/catalogue.js';
import { KernelJournal } from '../kernels/kernel-journal.js';
import { KernelLifecycle } from '../kernels/kernel-lifecycle.js';
import { KernelRegistry } from '../kernels/kernel-registry.js';
import type { KernelLogs, LifecycleSettings } from '../kernels/lifecycle/parts.js';
import { SocketRelays } from '../kernels/lifecycle/socket-relays.js';
import type { StartGate } from '../kernels/lifecycle/start-gate.js';
import type { SessionNetworks } from '../kernels/networks/session-networks.js';
import type { AgentResources } from '../resources/index.js';
import { BackgroundTasks } from './background-tasks.js';
import { BatchJobs } from './batch-jobs.js';
import { BatchJournal } from './batch-journal.js';
import { Execution } from './execution.js';
import { ImagePulls } from './image-pulls.js';
import { ImagePushes } from './image-pushes.js';
import { type CommitSettings, KernelCommits } from './kernel-commits.js';
import { KernelFiles } from './kernel-files.js';
import { KernelServices } from './kernel-services.js';
import { PortAudit } from './port-audit.js';
import type { PortPool } from './port-pool.js';
import { RunnerLinks } from './runner-links.js';

/** What the work of one agent is done with. Whoever makes it owns the parts and closes them. */
export interface AgentStaffParts {
  readonly agentId: AgentId;
  readonly backend: KernelBackend;
  readonly resources: AgentResources;
  readonly ports: PortPool;
  readonly events: EventSink;
  /** Absent: logs of ended kernels are not kept. */
  readonly logs?: KernelLogs;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly settings: LifecycleSettings;
  /** Of the whole process. Absent: no bound on kernels started at once. */
  readonly starts?: StartGate;
  /** Of the whole process. Absent: those that this program brings. */
  readonly networks?: SessionNetworks;
  /** For a push of an image; absent: no limit. */
  readonly pushTimeoutMs?: number | null;
  readonly commits: CommitSettings;
  /** Where this agent's journals are: `<state>/agents/<id>`. */
  readonly stateDirectory: string;
  readonly journalDirectory: string;
}

/** Those who work on the kernels and images of one agent, one for each kind of work; they begin and stop together. */
export class AgentStaff {
  readonly kernels: KernelRegistry;
  readonly lifecycle: KernelLifecycle;
  readonly execution: Execution;
  readonly services: KernelServices;
  readonly files: KernelFiles;
  readonly batchJobs: BatchJobs;
  readonly commits: KernelCommits;
  readonly pulls: ImagePulls;
  readonly pushes: ImagePushes;
  readonly portAudit: PortAudit;
  readonly #links: RunnerLinks;
  readonly #tasks: BackgroundTasks;
  readonly #stopHearingOom: (() => void) | undefined;

  constructor(parts: AgentStaffParts) {
    const { agentId, backend, resources, ports, events, clock, metrics, settings } = parts;
    const logger = parts.logger.child({ agentId });
    const { images } = backend;
    const registry = new KernelRegistry(agentId, logger);
    const links = new RunnerLinks({ logger, clock });
    const tasks = new BackgroundTasks({ agentId, events, clock, logger, metrics });
    this.kernels = registry;
    this.#links = links;
    this.#tasks = tasks;
    this.lifecycle = new KernelLifecycle({
      agentId,
      backend,
      registry,
      journal: new KernelJournal({ stateDirectory: parts.journalDirectory, agentId, logger }),
      resources,
      ports,
      runners: links,
      models: links,
      events,
      ...(parts.logs ? { logs: parts.logs } : {}),
      clock,
      logger,
      metrics,
      settings,
      ...(parts.starts ? { starts: parts.starts } : {}),
      relays: new SocketRelays(logger),
      ...(parts.networks ? { networks: parts.networks } : {}),
    });
    this.#stopHearingOom = backend.onOom?.((handle) => {
      if (handle.agentId === agentId) links.tellOom(handle.kernelId);
    });
    this.execution = new Execution({ agentId, registry, lifecycle: this.lifecycle, links, events });
    this.services = new KernelServices({
      registry,
      links,
      isOnHostNetwork: backend.isOnHostNetwork ?? false,
      logger,
    });
    this.files = new KernelFiles({ registry, backend });
    this.batchJobs = new BatchJobs({
      agentId,
      registry,
      execution: this.execution,
      journal: new BatchJournal({ directory: `${parts.stateDirectory}/batch`, logger }),
      events,
      clock,
      logger,
    });
    this.portAudit = new PortAudit({ ports, registry, logger });
    this.commits = new KernelCommits({
      agentId,
      settings: parts.commits,
      registry,
      backend,
      tasks,
      clock,
      logger,
    });
    const { pullTimeoutMs } = settings;
    this.pulls = new ImagePulls({ agentId, images, tasks, events, clock, pullTimeoutMs });
    this.pushes = new ImagePushes({ images, tasks, clock, pushTimeoutMs: parts.pushTimeoutMs ?? null });
  }

  /** Takes up what an earlier run of the daemon left. @throws when that cannot be read; then `close`. */
  async recover(): Promise<void> {
    await this.commits.recover();
    await this.lifecycle.recover();
    // Its jobs belong to the kernels that are back.
    await this.batchJobs.recover();
  }

  /** Kernels go on running. */
  async close(): Promise<void> {
    await this.batchJobs.close();
    this.commits.close();
    await this.#tasks.close();
    await this.lifecycle.close();
    this.#stopHearingOom?.();
    await this.#links.close();
  }
}
