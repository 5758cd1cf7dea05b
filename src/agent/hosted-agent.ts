import type { FileListing, KernelBackend } from '../backends/backend.js';
import type { Clock } from '../core/clock.js';
import { within } from '../core/async.js';
import { messageOf, RuntimeError } from '../core/errors.js';
import type { AgentId, KernelId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Metrics } from '../core/metrics.js';
import type { EventSink } from '../events/catalogue.js';
import { KernelJournal } from '../kernels/kernel-journal.js';
import { KernelLifecycle } from '../kernels/kernel-lifecycle.js';
import { KernelRegistry } from '../kernels/kernel-registry.js';
import type { SyncReport } from '../kernels/lifecycle/backend-sync.js';
import type { KernelLogs, LifecycleSettings } from '../kernels/lifecycle/parts.js';
import { SocketRelays } from '../kernels/lifecycle/socket-relays.js';
import type { StartGate } from '../kernels/lifecycle/start-gate.js';
import type { SessionNetworks } from '../kernels/networks/session-networks.js';
import type {
  ImagePullRequest,
  KernelCreationRequest,
  KernelCreationResult,
  KernelPreview,
  KernelRestartResult,
} from '../kernels/requests.js';
import type { AgentResources, AgentUsage } from '../resources/index.js';
import type { ExecutionResult } from '../runner/execution.js';
import type { Agent, HardwareHealth, KernelCommit, ServiceStatus } from './agent.js';
import { BackgroundTasks } from './background-tasks.js';
import { BatchJobs } from './batch-jobs.js';
import { BatchJournal } from './batch-journal.js';
import { examine } from './examination.js';
import { Execution } from './execution.js';
import { ImagePulls } from './image-pulls.js';
import { purgeImages } from './image-purges.js';
import { ImagePushes } from './image-pushes.js';
import { PortAudit } from './port-audit.js';
import { type CommitSettings, KernelCommits } from './kernel-commits.js';
import { KernelFiles } from './kernel-files.js';
import { KernelServices } from './kernel-services.js';
import type { PortPool } from './port-pool.js';
import { RunnerLinks } from './runner-links.js';

/** What one agent is made of. Whoever makes it owns the parts and closes them; the agent closes what it makes. */
export interface HostedAgentParts {
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
  readonly node: AgentNode;
  /** Where this agent's journals are: `<state>/agents/<id>`. */
  readonly stateDirectory: string;
  readonly journalDirectory: string;
  readonly scalingGroup: string;
}

/** What an agent asks of the node around it. */
export interface AgentNode {
  hardwareInfo(): Promise<Readonly<Record<string, HardwareHealth>>>;
  gpuAllocMap(agentId: AgentId): Readonly<Record<string, string>>;
  /** Writes the new group to the configuration file. */
  saveScalingGroup(agentId: AgentId, group: string): Promise<void>;
}

const TERMINATED_WITH_AGENT = 'agent-termination';

/** One agent: its kernels, ports, resources and everything that works on them. */
export class HostedAgent implements Agent {
  readonly id: AgentId;
  readonly kernels: KernelRegistry;
  readonly #parts: HostedAgentParts;
  readonly #links: RunnerLinks;
  readonly #lifecycle: KernelLifecycle;
  readonly #execution: Execution;
  readonly #services: KernelServices;
  readonly #files: KernelFiles;
  readonly #batchJobs: BatchJobs;
  readonly #tasks: BackgroundTasks;
  readonly #pulls: ImagePulls;
  readonly #portAudit: PortAudit;
  readonly #pushes: ImagePushes;
  readonly #commits: KernelCommits;
  #scalingGroup: string;
  readonly #stopHearingOom: (() => void) | undefined;
  #isShutDown = false;

  private constructor(parts: HostedAgentParts) {
    const { agentId, backend, resources, ports, events, clock, metrics, settings } = parts;
    const logger = parts.logger.child({ agentId });
    this.#parts = parts;
    this.id = agentId;
    this.#scalingGroup = parts.scalingGroup;
    this.kernels = new KernelRegistry(agentId, logger);
    this.#links = new RunnerLinks({ logger, clock });
    this.#lifecycle = new KernelLifecycle({
      agentId,
      backend,
      registry: this.kernels,
      journal: new KernelJournal({ stateDirectory: parts.journalDirectory, agentId, logger }),
      resources,
      ports,
      runners: this.#links,
      models: this.#links,
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
      if (handle.agentId === agentId) this.#links.tellOom(handle.kernelId);
    });
    const registry = this.kernels;
    this.#execution = new Execution({
      agentId,
      registry,
      lifecycle: this.#lifecycle,
      links: this.#links,
      events,
    });
    this.#services = new KernelServices({
      registry,
      links: this.#links,
      isOnHostNetwork: backend.isOnHostNetwork ?? false,
      logger,
    });
    this.#files = new KernelFiles({ registry, backend });
    this.#batchJobs = new BatchJobs({
      agentId,
      registry,
      execution: this.#execution,
      journal: new BatchJournal({ directory: `${parts.stateDirectory}/batch`, logger }),
      events,
      clock,
      logger,
    });
    this.#portAudit = new PortAudit({ ports, registry, logger });
    this.#tasks = new BackgroundTasks({ agentId, events, clock, logger, metrics });
    this.#commits = new KernelCommits({
      agentId,
      settings: parts.commits,
      registry,
      backend,
      tasks: this.#tasks,
      logger,
    });
    this.#pulls = new ImagePulls({
      agentId,
      images: backend.images,
      tasks: this.#tasks,
      events,
      clock,
      pullTimeoutMs: settings.pullTimeoutMs,
    });
    this.#pushes = new ImagePushes({
      images: backend.images,
      tasks: this.#tasks,
      clock,
      pushTimeoutMs: parts.pushTimeoutMs ?? null,
    });
  }

  /** Brings back what an earlier run of the daemon left; resolves when the agent can take calls. Then `announce` it. */
  static async start(parts: HostedAgentParts): Promise<HostedAgent> {
    const agent = new HostedAgent(parts);
    try {
      await agent.#commits.recover();
      await agent.#lifecycle.recover();
      await agent.#batchJobs.recover();
      return agent;
    } catch (error) {
      await agent.#letGo();
      throw error;
    }
  }

  /**
   * Tells managers that the agent is here. To be called once its first heartbeat is on its way: before that they do
   * not know it (spec/events-and-stores.md 4.1). Never rejects: its heartbeats tell the same.
   */
  async announce(): Promise<void> {
    const { events, logger } = this.#parts;
    await events
      .publish(this.id, { name: 'agent_started', reason: 'self-started' })
      .catch((error: unknown) => {
        logger.warn('the start of the agent is not announced', { agentId: this.id, error: messageOf(error) });
      });
  }

  /** Kernels go on running. */
  async stop(): Promise<void> {
    await this.#letGo();
    await this.#parts.events.publish(this.id, { name: 'agent_terminated', reason: 'shutdown' });
  }

  async #letGo(): Promise<void> {
    await this.#batchJobs.close();
    await this.#tasks.close();
    await this.#lifecycle.close();
    this.#stopHearingOom?.();
    await this.#links.close();
  }

  get scalingGroup(): string {
    return this.#scalingGroup;
  }

  hardwareInfo(): Promise<Readonly<Record<string, HardwareHealth>>> {
    return this.#parts.node.hardwareInfo();
  }

  gpuAllocMap(): Promise<Readonly<Record<string, string>>> {
    return Promise.resolve(this.#parts.node.gpuAllocMap(this.id));
  }

  resourceUsage(): AgentUsage {
    return this.#parts.resources.usage();
  }

  examine(): readonly string[] {
    return examine({
      kernels: this.kernels,
      allocated: new Set(Object.keys(this.resourceUsage().kernels)),
      holders: this.#parts.ports.holders(),
    });
  }

  async updateScalingGroup(group: string): Promise<void> {
    await this.#parts.node.saveScalingGroup(this.id, group);
    this.#scalingGroup = group;
  }

  async reset(signal: AbortSignal): Promise<void> {
    await within(this.#lifecycle.destroyAll(TERMINATED_WITH_AGENT), {
      signal,
      what: `ending all kernels of agent ${this.id}`,
    });
  }

  async shutdown(options: { readonly terminateKernels: boolean }, signal: AbortSignal): Promise<void> {
    this.#isShutDown = true;
    if (options.terminateKernels) await this.reset(signal);
  }

  createLocalNetwork(name: string): Promise<void> {
    return this.#parts.backend.networks.createLocal(name);
  }

  destroyLocalNetwork(name: string): Promise<void> {
    return this.#parts.backend.networks.destroyLocal(name);
  }

  checkAndPull(images: ReadonlyMap<string, ImagePullRequest>): Promise<ReadonlyMap<string, string>> {
    return Promise.resolve(new Map([...images].map(([key, image]) => [key, this.#pulls.start(image)])));
  }

  isPulling(canonical: string): boolean {
    return this.#pulls.isPulling(canonical);
  }

  pushImage(image: Parameters<Agent['pushImage']>[0]): string {
    return this.#pushes.start(image);
  }

  purgeImages(...[canonicals, options]: Parameters<Agent['purgeImages']>): ReturnType<Agent['purgeImages']> {
    const { backend, logger } = this.#parts;
    return purgeImages({ images: backend.images, logger }, canonicals, options);
  }

  // Async, so that a refusal is a rejection.
  // eslint-disable-next-line @typescript-eslint/require-await
  async commit(commit: KernelCommit): ReturnType<Agent['commit']> {
    return this.#commits.start(commit);
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async commitStatus(kernelId: KernelId, subdir: string): ReturnType<Agent['commitStatus']> {
    return this.#commits.status(kernelId, subdir);
  }

  /** Kernels with a commit under way. */
  get committing(): ReadonlySet<KernelId> {
    return this.#commits.ongoing;
  }

  assignPort(): Promise<number> {
    return this.#parts.ports.assign();
  }

  releasePort(port: number): Promise<void> {
    this.#parts.ports.release(port);
    return Promise.resolve();
  }

  createKernels(
    requests: readonly KernelCreationRequest[],
    signal: AbortSignal,
  ): Promise<readonly KernelCreationResult[]> {
    if (this.#isShutDown)
      return Promise.reject(
        new RuntimeError(`agent ${this.id} is shut down and takes no new kernel: restart the daemon first`),
      );
    return this.#lifecycle.create(requests, signal);
  }

  previewKernels(
    requests: readonly KernelCreationRequest[],
    options: { readonly showSecrets: boolean },
  ): Promise<readonly KernelPreview[]> {
    return this.#lifecycle.preview(requests, options);
  }

  restartKernel(
    restart: Parameters<Agent['restartKernel']>[0],
    signal: AbortSignal,
  ): Promise<KernelRestartResult> {
    return this.#lifecycle.restart(restart, signal);
  }

  destroyKernel(destroy: Parameters<Agent['destroyKernel']>[0]): Promise<void> {
    return this.#lifecycle.destroy(destroy);
  }

  isCreating(kernelId: KernelId): boolean {
    return this.#lifecycle.isCreating(kernelId);
  }

  isRunning(kernelId: KernelId): boolean {
    return this.kernels.find(kernelId)?.state.name === 'running';
  }

  pingKernel(kernelId: KernelId, signal: AbortSignal): ReturnType<Agent['pingKernel']> {
    return this.#execution.ping(kernelId, signal);
  }

  syncKernelRegistry(known: Parameters<Agent['syncKernelRegistry']>[0]): Promise<void> {
    return this.#lifecycle.sync(known);
  }

  /** See KernelLifecycle. @throws when the backend cannot list its containers. */
  async compareWithBackend(): Promise<SyncReport> {
    this.#portAudit.round();
    return this.#lifecycle.compareWithBackend();
  }

  purgeContainers(containers: Parameters<Agent['purgeContainers']>[0]): Promise<void> {
    return this.#lifecycle.purge(containers);
  }

  dropKernelRegistry(kernelIds: readonly KernelId[]): Promise<void> {
    return this.#lifecycle.drop(kernelIds);
  }

  execute(
    kernelId: KernelId,
    request: Parameters<Agent['execute']>[1],
    signal: AbortSignal,
  ): Promise<ExecutionResult> {
    return this.#execution.execute(kernelId, request, signal);
  }

  triggerBatchExecution(batch: Parameters<Agent['triggerBatchExecution']>[0]): Promise<void> {
    return this.#batchJobs.start(batch);
  }

  interruptKernel(kernelId: KernelId): Promise<void> {
    return this.#execution.interrupt(kernelId);
  }

  complete(...question: Parameters<Agent['complete']>): ReturnType<Agent['complete']> {
    return this.#execution.complete(...question);
  }

  logs(kernelId: KernelId): Promise<string> {
    return this.#files.logs(kernelId);
  }

  startService(...service: Parameters<Agent['startService']>): Promise<ServiceStatus> {
    return this.#services.start(...service);
  }

  shutdownService(kernelId: KernelId, service: string): Promise<void> {
    return this.#services.shutdown(kernelId, service);
  }

  uploadFile(kernelId: KernelId, path: string, data: Uint8Array): Promise<void> {
    return this.#files.upload(kernelId, path, data);
  }

  downloadFile(kernelId: KernelId, path: string): Promise<Uint8Array> {
    return this.#files.downloadArchive(kernelId, path);
  }

  downloadSingle(kernelId: KernelId, path: string): Promise<Uint8Array> {
    return this.#files.downloadSingle(kernelId, path);
  }

  listFiles(kernelId: KernelId, path: string): Promise<FileListing> {
    return this.#files.list(kernelId, path);
  }
}
