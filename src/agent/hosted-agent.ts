import type { FileListing } from '../backends/backend.js';
import { attempt, within } from '../core/async.js';
import { messageOf, RuntimeError } from '../core/errors.js';
import type { AgentId, KernelId } from '../core/ids.js';
import type { KernelRegistry } from '../kernels/kernel-registry.js';
import type { SyncReport } from '../kernels/lifecycle/backend-sync.js';
import type {
  ImagePullRequest,
  KernelCreationRequest,
  KernelCreationResult,
  KernelPreview,
  KernelRestartResult,
} from '../kernels/requests.js';
import type { AgentUsage } from '../resources/index.js';
import type { ExecutionResult } from '../runner/execution.js';
import type { Agent, HardwareHealth, KernelCommit, ServiceStatus } from './agent.js';
import { AgentStaff, type AgentStaffParts } from './agent-staff.js';
import { examine } from './examination.js';
import { purgeImages } from './image-purges.js';

/** What one agent is made of. Whoever makes it owns the parts and closes them; the agent closes what it makes. */
export interface HostedAgentParts extends AgentStaffParts {
  readonly node: AgentNode;
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

/** One agent as its callers see it: each function is done by one of its staff, or asked of its parts. */
export class HostedAgent implements Agent {
  readonly id: AgentId;
  readonly kernels: KernelRegistry;
  readonly #parts: HostedAgentParts;
  readonly #staff: AgentStaff;
  #scalingGroup: string;
  #isShutDown = false;

  private constructor(parts: HostedAgentParts) {
    this.#parts = parts;
    this.#staff = new AgentStaff(parts);
    this.id = parts.agentId;
    this.kernels = this.#staff.kernels;
    this.#scalingGroup = parts.scalingGroup;
  }

  /** Brings back what an earlier run of the daemon left; resolves when the agent can take calls. Then `announce` it. */
  static async start(parts: HostedAgentParts): Promise<HostedAgent> {
    const agent = new HostedAgent(parts);
    try {
      await agent.#staff.recover();
      return agent;
    } catch (error) {
      await agent.#staff.close();
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
    await this.#staff.close();
    await this.#parts.events.publish(this.id, { name: 'agent_terminated', reason: 'shutdown' });
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
    await within(this.#staff.lifecycle.destroyAll(TERMINATED_WITH_AGENT), {
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
    return Promise.resolve(new Map([...images].map(([key, image]) => [key, this.#staff.pulls.start(image)])));
  }

  isPulling(canonical: string): boolean {
    return this.#staff.pulls.isPulling(canonical);
  }

  pushImage(image: Parameters<Agent['pushImage']>[0]): string {
    return this.#staff.pushes.start(image);
  }

  purgeImages(...[canonicals, options]: Parameters<Agent['purgeImages']>): ReturnType<Agent['purgeImages']> {
    const { backend, logger } = this.#parts;
    return purgeImages({ images: backend.images, logger }, canonicals, options);
  }

  commit(commit: KernelCommit): ReturnType<Agent['commit']> {
    return attempt(() => this.#staff.commits.start(commit));
  }

  commitStatus(kernelId: KernelId, subdir: string): ReturnType<Agent['commitStatus']> {
    return attempt(() => this.#staff.commits.status(kernelId, subdir));
  }

  /** Kernels with a commit under way. */
  get committing(): ReadonlySet<KernelId> {
    return this.#staff.commits.ongoing;
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
    return this.#staff.lifecycle.create(requests, signal);
  }

  previewKernels(
    requests: readonly KernelCreationRequest[],
    options: { readonly showSecrets: boolean },
  ): Promise<readonly KernelPreview[]> {
    return this.#staff.lifecycle.preview(requests, options);
  }

  restartKernel(
    restart: Parameters<Agent['restartKernel']>[0],
    signal: AbortSignal,
  ): Promise<KernelRestartResult> {
    return this.#staff.lifecycle.restart(restart, signal);
  }

  destroyKernel(destroy: Parameters<Agent['destroyKernel']>[0]): Promise<void> {
    return this.#staff.lifecycle.destroy(destroy);
  }

  isCreating(kernelId: KernelId): boolean {
    return this.#staff.lifecycle.isCreating(kernelId);
  }

  isRunning(kernelId: KernelId): boolean {
    return this.kernels.find(kernelId)?.state.name === 'running';
  }

  pingKernel(kernelId: KernelId, signal: AbortSignal): ReturnType<Agent['pingKernel']> {
    return this.#staff.execution.ping(kernelId, signal);
  }

  syncKernelRegistry(known: Parameters<Agent['syncKernelRegistry']>[0]): Promise<void> {
    return this.#staff.lifecycle.sync(known);
  }

  /** See KernelLifecycle. @throws when the backend cannot list its containers. */
  async compareWithBackend(): Promise<SyncReport> {
    this.#staff.portAudit.round();
    return this.#staff.lifecycle.compareWithBackend();
  }

  purgeContainers(containers: Parameters<Agent['purgeContainers']>[0]): Promise<void> {
    return this.#staff.lifecycle.purge(containers);
  }

  dropKernelRegistry(kernelIds: readonly KernelId[]): Promise<void> {
    return this.#staff.lifecycle.drop(kernelIds);
  }

  execute(
    kernelId: KernelId,
    request: Parameters<Agent['execute']>[1],
    signal: AbortSignal,
  ): Promise<ExecutionResult> {
    return this.#staff.execution.execute(kernelId, request, signal);
  }

  triggerBatchExecution(batch: Parameters<Agent['triggerBatchExecution']>[0]): Promise<void> {
    return this.#staff.batchJobs.start(batch);
  }

  interruptKernel(kernelId: KernelId): Promise<void> {
    return this.#staff.execution.interrupt(kernelId);
  }

  complete(...question: Parameters<Agent['complete']>): ReturnType<Agent['complete']> {
    return this.#staff.execution.complete(...question);
  }

  logs(kernelId: KernelId): Promise<string> {
    return this.#staff.files.logs(kernelId);
  }

  startService(...service: Parameters<Agent['startService']>): Promise<ServiceStatus> {
    return this.#staff.services.start(...service);
  }

  shutdownService(kernelId: KernelId, service: string): Promise<void> {
    return this.#staff.services.shutdown(kernelId, service);
  }

  uploadFile(kernelId: KernelId, path: string, data: Uint8Array): Promise<void> {
    return this.#staff.files.upload(kernelId, path, data);
  }

  downloadFile(kernelId: KernelId, path: string): Promise<Uint8Array> {
    return this.#staff.files.downloadArchive(kernelId, path);
  }

  downloadSingle(kernelId: KernelId, path: string): Promise<Uint8Array> {
    return this.#staff.files.downloadSingle(kernelId, path);
  }

  listFiles(kernelId: KernelId, path: string): Promise<FileListing> {
    return this.#staff.files.list(kernelId, path);
  }
}
