import { throwIfCancelled } from '../../core/async.js';
import { systemClock, type Clock } from '../../core/clock.js';
import type { AgentId, KernelId } from '../../core/ids.js';
import { KeyedQueue } from '../../core/keyed-queue.js';
import { Questions } from '../../core/questions.js';
import type { Logger } from '../../core/logger.js';
import type {
  BackendFiles,
  BackendImages,
  BackendNetworks,
  CommittedImage,
  KernelBackend,
  KernelDetails,
  KernelExit,
  KernelHandle,
  KernelPlan,
  KernelProcessState,
  RunnerEndpoints,
  UsageSource,
} from '../backend.js';
import { WorkFiles } from '../files/work-files.js';
import { detailsOf } from './container-details.js';
import { ContainerEnds } from './container-ends.js';
import { ContainerMaker } from './container-maker.js';
import { ContainerStarts, isMissing } from './container-starts.js';
import { ContainerUsage } from './container-usage.js';
import { ContainerWatcher } from './container-watcher.js';
import { DistroProbe } from './distro-probe.js';
import { Engine } from './engine.js';
import { checkVersion } from './engine-version.js';
import { DockerUnavailableError } from './errors.js';
import { isActive, outcomeOf } from './exit-outcome.js';
import { commitContainer } from './image-commit.js';
import { DockerImages } from './images.js';
import { KernelAddresses } from './kernel-addresses.js';
import { KernelContainers } from './kernel-containers.js';
import { endpointsOf, stateOf } from './kernel-labels.js';
import { DockerNetworks } from './networks.js';
import { OriginalRunner } from './original-runner.js';
import { pruneRunnerVolumes } from './runner-volume-pruning.js';
import { findSettings, type DockerBackendOptions } from './settings.js';

/** How long files of one container may take to answer. */
const MEASURED_ITEM_MS = 2000;

/**
 * Runs kernels as containers of a Docker engine on this machine. All that it must remember stands in the
 * containers' labels, so that a daemon that knows nothing finds its kernels; one without our labels is taken over
 * from the original if it is a kernel of the same owner.
 */
export class DockerBackend implements KernelBackend {
  readonly kind = 'docker';
  readonly images: BackendImages;
  readonly networks: BackendNetworks;
  readonly files: BackendFiles;

  readonly #options: DockerBackendOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #engine: Engine;
  readonly #watcher: ContainerWatcher;
  readonly #kernels: KernelContainers;
  readonly #starts: ContainerStarts;
  readonly #ends: ContainerEnds;
  readonly #addresses: KernelAddresses;
  readonly #usage: ContainerUsage;
  readonly #queue = new KeyedQueue<string>();
  /** Null: not open. */
  #maker: ContainerMaker | null = null;

  constructor(options: DockerBackendOptions) {
    this.#options = options;
    const { clock = systemClock, logger, engineDeadlineMs: quickMs = 30_000 } = options;
    this.#clock = clock;
    this.#logger = logger;
    const engine = new Engine({ socketPath: options.socketPath ?? null, quickMs, slowMs: 3 * quickMs });
    const { containers } = engine;
    this.#engine = engine;
    this.#addresses = new KernelAddresses(containers);
    const questions = options.questions ?? new Questions({ timeoutMs: MEASURED_ITEM_MS });
    this.#usage = new ContainerUsage({ containers, questions });
    this.#kernels = new KernelContainers(containers, logger);
    this.#watcher = new ContainerWatcher({
      containers,
      clock,
      logger,
      sweepIntervalMs: options.sweepIntervalMs ?? 30_000,
      onRunning: (container) => {
        this.#usage.learn(container);
      },
      onActivity: () => {
        this.#addresses.forget();
      },
    });
    this.#watcher.onExit(({ handle }) => {
      this.#usage.forget(handle.containerId);
      if (this.#kernels.stateOf(handle) !== null) this.#kernels.learn(handle, 'idle');
    });
    const parts = { kernels: this.#kernels, watcher: this.#watcher };
    const killDeadlineMs = options.killDeadlineMs ?? 30_000;
    this.#ends = new ContainerEnds({ ...parts, containers, clock, killDeadlineMs });
    this.#starts = new ContainerStarts({ ...parts, engine, ends: this.#ends, usage: this.#usage });
    this.images = new DockerImages(engine.images, logger);
    this.networks = new DockerNetworks(engine.networks);
    this.files = new WorkFiles({
      placesOf: (handle) => {
        const { work, folders, uid, gid } = stateOf(handle);
        return { work, folders, view: 'mounted', uid, gid };
      },
      listMaxEntries: options.listMaxEntries ?? 10_000,
    });
  }

  /** @throws DockerUnavailableError when the engine does not answer or is too old, RunnerVolumeError, RunnerPackageError */
  async open(): Promise<void> {
    const version = await this.#engine.version();
    checkVersion(version);
    const settings = await findSettings(this.#options);
    const originalRunner = await this.#findOriginalRunner();
    const { allowedMountRoots, agentSockets, runnerVolume } = this.#options;
    const { directory } = settings.runner;
    if ('root' in runnerVolume)
      await pruneRunnerVolumes(
        { root: runnerVolume.root, current: directory },
        { containers: this.#engine.containers, clock: this.#clock, logger: this.#logger },
      );
    this.#maker = new ContainerMaker({
      engine: this.#engine,
      kernels: this.#kernels,
      settings,
      originalRunner,
      allowedMountRoots,
      agentSockets,
      logger: this.#logger,
    });
    this.#logger.info('the container engine answers', { ...version, runnerVolume: directory });
    this.#watcher.open();
  }

  async close(): Promise<void> {
    await this.#queue.idle();
    await this.#watcher.close();
    this.#maker = null;
  }

  onExit(listener: (exit: KernelExit) => void): () => void {
    return this.#watcher.onExit(listener);
  }

  onOom(listener: (handle: KernelHandle) => void): () => void {
    return this.#watcher.onOom(listener);
  }

  /** @throws as ContainerMaker */
  create(plan: KernelPlan, signal: AbortSignal): Promise<KernelHandle> {
    return this.#queue.run(plan.kernelId, async () => this.#require().make(plan, signal));
  }

  /** @throws MountRefusedError */
  async describe(plan: KernelPlan): Promise<Readonly<Record<string, unknown>>> {
    return this.#require().describe(plan);
  }

  /** @throws as ContainerStarts */
  start(handle: KernelHandle, signal: AbortSignal): Promise<RunnerEndpoints> {
    return this.#queue.run(handle.kernelId, async () => {
      this.#require();
      await this.#starts.start(handle, signal);
      return endpointsOf(handle);
    });
  }

  /** @throws ContainerStopError when the container outlives its kill. */
  async stop(handle: KernelHandle, options: { readonly graceMs: number }): Promise<void> {
    // Not through the queue: an impatient second stop must not wait for the patience of the first.
    await this.#queue.passed(handle.kernelId);
    await this.#ends.stop(handle, options.graceMs);
  }

  remove(handle: KernelHandle): Promise<void> {
    return this.#queue.run(handle.kernelId, async () => {
      await this.#ends.remove(handle);
      this.#starts.forget(handle);
    });
  }

  async inspect(handle: KernelHandle): Promise<KernelProcessState> {
    const container = await this.#kernels.find(handle);
    if (container === null) return { status: 'missing' };
    if (isActive(container)) {
      this.#usage.learn(container);
      this.#watcher.watch(handle, container);
      return { status: 'running', endpoints: endpointsOf(handle) };
    }
    await this.#watcher.look(handle);
    if (this.#starts.wasCancelled(container))
      return { status: 'exited', exitCode: null, detail: 'its start was cancelled' };
    const { exitCode, detail } = outcomeOf(container);
    return { status: 'exited', exitCode, detail };
  }

  list(owner: AgentId): Promise<readonly KernelHandle[]> {
    return this.#kernels.list(owner);
  }

  async details(handle: KernelHandle): Promise<KernelDetails | null> {
    const container = await this.#kernels.find(handle);
    return container === null ? null : detailsOf(container);
  }

  usageSources(handles: readonly KernelHandle[]): Promise<ReadonlyMap<KernelId, UsageSource>> {
    return this.#usage.sources(handles);
  }

  async kernelAt(address: string): Promise<KernelHandle | null> {
    const found = await this.#addresses.find(address);
    return found === null ? null : this.#kernels.handleOf(found.id, found.labels);
  }

  logs(handle: KernelHandle, options: { readonly maxBytes: number }): Promise<Uint8Array> {
    return this.#engine.containers.logs(handle.containerId, options.maxBytes);
  }

  /**
   * Not through the queue: a kernel's end must not wait for its image.
   * @throws KernelContainerMissingError, ValueError for a label that cannot be written.
   */
  async commit(handle: KernelHandle, image: CommittedImage, signal: AbortSignal): Promise<string> {
    throwIfCancelled(signal, `kernel ${handle.kernelId}`);
    if ((await this.#kernels.find(handle)) === null) throw isMissing(handle);
    return commitContainer({ engine: this.#engine, images: this.images }, handle, image, signal);
  }

  async #findOriginalRunner(): Promise<OriginalRunner | null> {
    const { originalRunner, hardening, distroCache } = this.#options;
    if (originalRunner === undefined) return null;
    if (hardening === 'strict')
      throw new DockerUnavailableError(
        "strict hardening needs our own runner: the original's starts as root. Choose one of the two",
      );
    const parts = { engine: this.#engine, clock: this.#clock, logger: this.#logger };
    const cache = distroCache === undefined ? {} : { cache: distroCache };
    const probe = new DistroProbe({ ...parts, ...cache });
    return OriginalRunner.open(originalRunner, { ...parts, probe });
  }

  #require(): ContainerMaker {
    if (this.#maker === null) throw new DockerUnavailableError('the docker backend is not open');
    return this.#maker;
  }
}
