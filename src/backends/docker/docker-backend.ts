import { stat } from 'node:fs/promises';
import { systemClock } from '../../core/clock.js';
import { CancelledError, messageOf } from '../../core/errors.js';
import type { AgentId, KernelId } from '../../core/ids.js';
import { KeyedQueue } from '../../core/keyed-queue.js';
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
import { agentSocketLink, agentSocketMount, withMount } from './agent-socket-mount.js';
import { hasOwnPorts } from './container-networks.js';
import { checkPorts, publishedOf } from './container-ports.js';
import { detailsOf } from './container-details.js';
import {
  containerNameOf,
  containerSpecOf,
  imageNameOf,
  type ContainerSettings,
  type ContainerSpec,
} from './container-spec.js';
import { ContainerUsage } from './container-usage.js';
import { ContainerWatcher } from './container-watcher.js';
import { Engine, statusOf } from './engine.js';
import { findEngineFacts } from './engine-facts.js';
import type { Container } from './engine-schemas.js';
import {
  ContainerStartError,
  ContainerStopError,
  DockerUnavailableError,
  ImageMissingError,
  KernelContainerExistsError,
  KernelContainerMissingError,
} from './errors.js';
import { DistroProbe } from './distro-probe.js';
import { isActive, outcomeOf } from './exit-outcome.js';
import { commitContainer } from './image-commit.js';
import { DockerImages } from './images.js';
import { KernelAddresses } from './kernel-addresses.js';
import { KnownContainers } from './known-containers.js';
import {
  adoptedHandle,
  foldersOf,
  handleFromLabels,
  KERNEL_LABEL,
  labelsOf,
  loopback,
  OWNER_LABEL,
  stateOf,
  type ContainerState,
} from './kernel-labels.js';
import { DockerNetworks } from './networks.js';
import { OriginalRunner } from './original-runner.js';
import { pruneRunnerVolumes } from './runner-volume-pruning.js';
import { checkMounts, findSettings, type DockerBackendOptions } from './settings.js';

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
  readonly #logger: Logger;
  readonly #engine: Engine;
  readonly #watcher: ContainerWatcher;
  readonly #addresses: KernelAddresses;
  readonly #usage: ContainerUsage;
  readonly #queue = new KeyedQueue<string>();
  /** Container id -> when the start began that was cancelled: what it ran after that does not count. */
  readonly #cancelledStarts = new Map<string, string>();
  readonly #probe: DistroProbe;
  readonly #known = new KnownContainers();
  #settings: ContainerSettings | null = null;
  #original: OriginalRunner | null = null;

  constructor(options: DockerBackendOptions) {
    this.#options = options;
    this.#logger = options.logger;
    const quickMs = options.engineDeadlineMs ?? 30_000;
    this.#engine = new Engine({ socketPath: options.socketPath ?? null, quickMs, slowMs: 3 * quickMs });
    this.#addresses = new KernelAddresses(this.#engine);
    this.#usage = new ContainerUsage({ engine: this.#engine });
    this.#watcher = new ContainerWatcher({
      engine: this.#engine,
      clock: options.clock ?? systemClock,
      logger: options.logger,
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
      if (this.#known.stateOf(handle) !== null) this.#known.learn(handle, 'idle');
    });
    this.#probe = new DistroProbe({
      engine: this.#engine,
      clock: options.clock ?? systemClock,
      logger: options.logger,
      ...(options.distroCache === undefined ? {} : { cache: options.distroCache }),
    });
    this.images = new DockerImages(this.#engine, options.logger);
    this.networks = new DockerNetworks(this.#engine);
    this.files = new WorkFiles({
      placesOf: (handle) => {
        const { work, folders, uid, gid } = stateOf(handle);
        return { work, folders, view: 'mounted', uid, gid };
      },
      listMaxEntries: options.listMaxEntries ?? 10_000,
    });
  }

  /** @throws DockerUnavailableError when the engine does not answer, RunnerVolumeError, RunnerPackageError */
  async open(): Promise<void> {
    const { engine, api } = await this.#engine.version();
    const settings = await findSettings(this.#options);
    const { originalRunner, hardening, runnerVolume } = this.#options;
    if (originalRunner !== undefined) {
      if (hardening === 'strict')
        throw new DockerUnavailableError(
          "strict hardening needs our own runner: the original's starts as root. Choose one of the two",
        );
      this.#original = await OriginalRunner.open(originalRunner, {
        engine: this.#engine,
        probe: this.#probe,
      });
    }
    if ('root' in runnerVolume)
      await pruneRunnerVolumes(
        { root: runnerVolume.root, current: settings.runner.directory },
        { engine: this.#engine, clock: this.#options.clock ?? systemClock, logger: this.#logger },
      );
    this.#settings = settings;
    this.#logger.info('the container engine answers', {
      engine,
      api,
      runnerVolume: this.#settings.runner.directory,
    });
    this.#watcher.open();
  }

  async close(): Promise<void> {
    await this.#queue.idle();
    await this.#watcher.close();
    this.#settings = null;
  }

  onExit(listener: (exit: KernelExit) => void): () => void {
    return this.#watcher.onExit(listener);
  }

  onOom(listener: (handle: KernelHandle) => void): () => void {
    return this.#watcher.onOom(listener);
  }

  /**
   * @throws KernelContainerExistsError when the kernel is there already, ImageMissingError, MountRefusedError,
   * ContainerStartError for an unusable plan.
   */
  create(plan: KernelPlan, signal: AbortSignal): Promise<KernelHandle> {
    return this.#queue.run(plan.kernelId, () => this.#create(plan, signal));
  }

  /** Name and options of the container, exactly as the engine would be asked for it. */
  async describe(plan: KernelPlan): Promise<Readonly<Record<string, unknown>>> {
    await checkMounts(plan, this.#options.allowedMountRoots);
    const { name, spec } = await this.#containerOf(plan, this.#require());
    return { name, options: spec };
  }

  start(handle: KernelHandle, signal: AbortSignal): Promise<RunnerEndpoints> {
    return this.#queue.run(handle.kernelId, () => this.#start(handle, signal));
  }

  /** @throws ContainerStopError when the container outlives its kill. */
  async stop(handle: KernelHandle, options: { readonly graceMs: number }): Promise<void> {
    // Not through the queue: an impatient second stop must not wait for the patience of the first.
    await this.#queue.run(handle.kernelId, () => Promise.resolve());
    await this.#stop(handle, options.graceMs);
  }

  remove(handle: KernelHandle): Promise<void> {
    return this.#queue.run(handle.kernelId, async () => {
      const { containerId } = handle;
      // "Removal is already in progress" is fine, too, but gone means gone.
      if ((await this.#stop(handle, 0)) && !(await this.#engine.remove(containerId)))
        await this.#untilRemoved(handle);
      this.#known.forget(containerId);
      this.#cancelledStarts.delete(containerId);
    });
  }

  async inspect(handle: KernelHandle): Promise<KernelProcessState> {
    const container = await this.#find(handle);
    if (container === null) return { status: 'missing' };
    if (isActive(container)) {
      this.#usage.learn(container);
      this.#watcher.watch(handle, container);
      return { status: 'running', endpoints: endpointsOf(handle) };
    }
    await this.#watcher.look(handle);
    if (this.#cancelledStarts.get(container.Id) === container.State.StartedAt)
      return { status: 'exited', exitCode: null, detail: 'its start was cancelled' };
    const { exitCode, detail } = outcomeOf(container);
    return { status: 'exited', exitCode, detail };
  }

  async list(owner: AgentId): Promise<readonly KernelHandle[]> {
    const handles: KernelHandle[] = [];
    for (const { Id, Labels } of await this.#engine.list([`${OWNER_LABEL}=${owner}`]))
      try {
        const handle = handleFromLabels(Id, Labels) ?? (await this.#adopt(Id));
        if (handle !== null) handles.push(handle);
      } catch (error) {
        this.#logger.error('the labels of a kernel container are unreadable', {
          agentId: owner,
          containerId: Id,
          error: messageOf(error),
        });
      }
    return handles;
  }

  async details(handle: KernelHandle): Promise<KernelDetails | null> {
    const container = await this.#find(handle);
    return container === null ? null : detailsOf(container);
  }

  usageSources(handles: readonly KernelHandle[]): Promise<ReadonlyMap<KernelId, UsageSource>> {
    return this.#usage.sources(handles);
  }

  async kernelAt(address: string): Promise<KernelHandle | null> {
    const found = await this.#addresses.find(address);
    return found === null
      ? null
      : (handleFromLabels(found.id, found.labels) ?? (await this.#adopt(found.id)));
  }

  logs(handle: KernelHandle, options: { readonly maxBytes: number }): Promise<Uint8Array> {
    return this.#engine.logs(handle.containerId, options.maxBytes);
  }

  /**
   * Not through the queue: a kernel's end must not wait for its image.
   * @throws KernelContainerMissingError, ValueError for a label that cannot be written.
   */
  async commit(handle: KernelHandle, image: CommittedImage, signal: AbortSignal): Promise<string> {
    throwIfCancelled(signal, handle);
    if ((await this.#find(handle)) === null) throw isMissing(handle);
    return commitContainer({ engine: this.#engine, images: this.images }, handle, image, signal);
  }

  async #create(plan: KernelPlan, signal: AbortSignal): Promise<KernelHandle> {
    const settings = this.#require();
    throwIfCancelled(signal, plan);
    for (const directory of [plan.scratch.work, plan.scratch.config])
      if (!(await stat(directory).catch(() => null))?.isDirectory())
        throw new ContainerStartError(`kernel ${plan.kernelId} has no directory at ${directory}`);
    await checkMounts(plan, this.#options.allowedMountRoots);
    const { name, labels, needsLink, spec } = await this.#containerOf(plan, settings);
    throwIfCancelled(signal, plan);
    const id = await this.#createOnly(plan, name, spec);
    if (needsLink)
      await this.#engine.unpack(id, agentSocketLink()).catch(async (error: unknown) => {
        await this.#engine.remove(id);
        throw error;
      });
    if (signal.aborted) {
      await this.#engine.remove(id);
      throwIfCancelled(signal, plan);
    }
    const handle = handleFromLabels(id, labels);
    if (handle === null) throw new ContainerStartError(`kernel ${plan.kernelId} has no labels`);
    this.#known.learn(handle, 'fresh');
    return handle;
  }

  /**
   * Its name refuses a second container of the kernel with the same image. One with another image is looked for
   * meanwhile, which costs no time beside the creation; then the new one goes.
   */
  async #createOnly(plan: KernelPlan, name: string, spec: ContainerSpec): Promise<string> {
    const looking = this.#engine.list([`${KERNEL_LABEL}=${plan.kernelId}`]);
    looking.catch(() => undefined);
    const id = await this.#engine.create(name, spec).catch((error: unknown) => {
      throw creationFailure(plan, error);
    });
    try {
      if ((await looking).some(({ Id }) => Id !== id)) throw alreadyThere(plan);
    } catch (error) {
      await this.#engine.remove(id);
      throw error;
    }
    return id;
  }

  /** Everything that the engine is asked for, from the plan and what the engine has. */
  async #containerOf(plan: KernelPlan, settings: ContainerSettings) {
    if ((plan.allowedSyscalls ?? []).length > 0 && settings.seccompProfile === null)
      this.#logger.warn('devices need system calls that only a profile of splenium.docker can allow', {
        kernelId: plan.kernelId,
        syscalls: plan.allowedSyscalls,
      });
    const labels = labelsOf(plan, stateFor(plan, settings));
    const socket = await agentSocketMount(this.#options.agentSockets, plan.agentId);
    const found = await findEngineFacts(this.#engine, plan);
    const started = await this.#original?.startOf(plan, imageNameOf(plan));
    const all = started === undefined ? settings : { ...settings, originalRunner: started };
    const spec = containerSpecOf(withMount(plan, socket), labels, all, found);
    // Our entry point links the socket by itself where it starts as root.
    const needsLink = socket !== null && (started !== undefined || spec.User !== '0:0');
    return { name: containerNameOf(plan), labels, needsLink, spec };
  }

  async #start(handle: KernelHandle, signal: AbortSignal): Promise<RunnerEndpoints> {
    this.#require();
    const { containerId } = handle;
    throwIfCancelled(signal, handle);
    if (this.#known.stateOf(handle) !== 'fresh') {
      const before = await this.#find(handle);
      if (before === null) throw isMissing(handle);
      if (isActive(before)) {
        this.#watcher.watch(handle, before);
        return endpointsOf(handle);
      }
      await this.#watcher.look(handle);
    }
    throwIfCancelled(signal, handle);
    this.#known.learn(handle, 'started');
    await this.#engine.start(containerId).catch((error: unknown) => {
      throw statusOf(error) === 404 && /no such container/i.test(messageOf(error))
        ? isMissing(handle)
        : new ContainerStartError(`kernel ${handle.kernelId}: ${messageOf(error)}`, { cause: error });
    });
    if (signal.aborted) await this.#undoStart(handle);
    throwIfCancelled(signal, handle);
    this.#cancelledStarts.delete(containerId);
    this.#watcher.watch(handle);
    await this.#complete(handle).catch(async (error: unknown) => {
      await this.#undoStart(handle);
      throw error;
    });
    return endpointsOf(handle);
  }

  /**
   * What can be done only when the container runs: its ports are compared, its devices' networks joined.
   * @throws PortMismatchError, EngineError
   */
  async #complete(handle: KernelHandle): Promise<void> {
    const { published, networks } = stateOf(handle);
    const container = await this.#find(handle);
    if (container === null || !isActive(container)) {
      // It has ended before it was watched.
      await this.#watcher.look(handle);
      return;
    }
    this.#usage.learn(container);
    this.#watcher.watch(handle, container);
    checkPorts(container, published);
    for (const network of networks)
      if (!container.NetworkSettings.networks.includes(network))
        await this.#engine.connectNetwork(network, handle.containerId);
  }

  /** Null when it is gone, or is another's: what comes from a journal names what is stopped and removed. */
  async #find(handle: KernelHandle): Promise<Container | null> {
    const { agentId, kernelId, containerId } = handle;
    const container = await this.#engine.inspect(containerId);
    const labels = container?.Config.Labels ?? {};
    if (container === null || labels[OWNER_LABEL] !== agentId || labels[KERNEL_LABEL] !== kernelId)
      return null;
    this.#known.learn(handle, isActive(container) ? 'started' : 'idle');
    return container;
  }

  /** Whether a container of the handle runs, as far as this process knows; null: the engine must be asked. */
  #isRunning(handle: KernelHandle): boolean | null {
    const known = this.#known.stateOf(handle);
    if (known === null) return null;
    if (this.#watcher.isWatching(handle)) return true;
    // A start that failed or was cancelled: who knows?
    return known === 'started' ? null : false;
  }

  /** Nobody has been told that it started, so nobody is told that it ended. */
  async #undoStart(handle: KernelHandle): Promise<void> {
    this.#watcher.forget(handle);
    await this.#engine.kill(handle.containerId, 'SIGKILL');
    const container = await this.#untilInactive(handle);
    if (container !== null) this.#cancelledStarts.set(container.Id, container.State.StartedAt);
  }

  /** @returns whether there may be a container of the handle. */
  async #stop(handle: KernelHandle, graceMs: number): Promise<boolean> {
    const isRunning = this.#isRunning(handle);
    if (isRunning === false) return true;
    if (isRunning === null) {
      const container = await this.#find(handle);
      if (container === null || !isActive(container)) {
        await this.#watcher.look(handle);
        return container !== null;
      }
      this.#watcher.watch(handle, container);
    }
    if (graceMs > 0 && (await this.#endBy('SIGINT', handle, graceMs))) return true;
    if (!(await this.#endBy('SIGKILL', handle, this.#killDeadlineMs()))) throw this.#stuck(handle);
    return true;
  }

  /** Sends the signal to a watched container. @returns whether its end has been reported within that time. */
  async #endBy(signal: 'SIGINT' | 'SIGKILL', handle: KernelHandle, timeoutMs: number): Promise<boolean> {
    this.#watcher.expectEnd(handle);
    // One that does not run may have ended unheard.
    if (!(await this.#engine.kill(handle.containerId, signal)) && (await this.#watcher.look(handle)))
      return true;
    return this.#watcher.ended(handle, timeoutMs);
  }

  async #untilInactive(handle: KernelHandle): Promise<Container | null> {
    return this.#poll(handle, (container) => container === null || !isActive(container));
  }

  async #untilRemoved(handle: KernelHandle): Promise<void> {
    await this.#poll(handle, (container) => container === null);
  }

  async #poll(
    handle: KernelHandle,
    isSo: (container: Container | null) => boolean,
  ): Promise<Container | null> {
    const clock = this.#options.clock ?? systemClock;
    const deadline = clock.monotonicMs() + this.#killDeadlineMs();
    for (let pauseMs = 20; ; pauseMs = Math.min(2 * pauseMs, 500)) {
      const container = await this.#engine.inspect(handle.containerId);
      if (isSo(container)) return container;
      if (clock.monotonicMs() >= deadline) throw this.#stuck(handle);
      await clock.sleep(pauseMs);
    }
  }

  async #adopt(id: string): Promise<KernelHandle | null> {
    const container = await this.#engine.inspect(id);
    return container === null ? null : adoptedHandle(container);
  }

  #killDeadlineMs(): number {
    return this.#options.killDeadlineMs ?? 30_000;
  }

  #stuck(handle: KernelHandle): ContainerStopError {
    return new ContainerStopError(
      `container ${handle.containerId} of kernel ${handle.kernelId} is still there ${String(this.#killDeadlineMs())} ms after it was killed: look at the engine`,
      { retryable: true },
    );
  }

  #require(): ContainerSettings {
    if (this.#settings === null) throw new DockerUnavailableError('the docker backend is not open');
    return this.#settings;
  }
}

function stateFor(plan: KernelPlan, settings: ContainerSettings): ContainerState {
  const { uid, gid } = plan.identity;
  // Only root can give a file to somebody.
  const mayGive = settings.ownIdentity.uid === 0 && uid !== null;
  return {
    work: plan.scratch.work,
    folders: foldersOf(plan.mounts),
    uid: mayGive ? uid : null,
    gid: mayGive ? (gid ?? uid) : null,
    replIn: loopback(plan.replInPort),
    replOut: loopback(plan.replOutPort),
    published: hasOwnPorts(plan) ? {} : publishedOf(plan),
    networks: [...(plan.deviceNetworks ?? [])],
  };
}

function endpointsOf(handle: KernelHandle): RunnerEndpoints {
  const { replIn, replOut } = stateOf(handle);
  return { replIn, replOut };
}

function creationFailure(plan: KernelPlan, error: unknown): unknown {
  const status = statusOf(error);
  if (status === 409) return alreadyThere(plan, error);
  if (status === 404)
    return new ImageMissingError(`image ${plan.imageCanonical} is not on this machine: pull it first`, {
      cause: error,
    });
  if (status === 400)
    return new ContainerStartError(`kernel ${plan.kernelId}: ${messageOf(error)}`, { cause: error });
  return error;
}

const alreadyThere = (plan: KernelPlan, cause?: unknown) =>
  new KernelContainerExistsError(`kernel ${plan.kernelId} has a container already: remove it first`, {
    cause,
  });

const isMissing = (handle: KernelHandle) =>
  new KernelContainerMissingError(
    `the container of kernel ${handle.kernelId} is not here: it was removed or never created`,
  );

function throwIfCancelled(signal: AbortSignal, { kernelId }: { readonly kernelId: string }): void {
  if (signal.aborted) throw new CancelledError(`kernel ${kernelId}: cancelled`);
}
