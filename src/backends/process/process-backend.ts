import { randomBytes } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { mapBounded, throwIfCancelled } from '../../core/async.js';
import { systemClock } from '../../core/clock.js';
import { NotImplementedError } from '../../core/errors.js';
import { asContainerId, type AgentId, type KernelId } from '../../core/ids.js';
import { KeyedQueue } from '../../core/keyed-queue.js';
import { Questions } from '../../core/questions.js';
import type { Logger } from '../../core/logger.js';
import type {
  BackendFiles,
  BackendImages,
  BackendNetworks,
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
import { readConsole } from './console-log.js';
import {
  KernelProcessMissingError,
  KernelProcessStartError,
  ProcessBackendUnavailableError,
} from './errors.js';
import { ExitWatcher, type StartedNote } from './exit-watcher.js';
import { HostMeans } from './host-means.js';
import { membersOfKernels } from './kernel-members.js';
import { KernelNotes } from './kernel-notes.js';
import { startKernel } from './kernel-start.js';
import {
  affinityCommand,
  endpointsOf,
  environmentOf,
  launchOf,
  markOf,
  mountLinks,
  runnerCommand,
} from './launch.js';
import { rebuildNote } from './lost-note.js';
import { handleOf, stateOf, type Note, type ProcessState } from './note.js';
import { ProcessTable } from './process-table.js';
import type { ProcessBackendOptions } from './settings.js';
import { linkMounts, unlinkMounts } from './work-mounts.js';

const NOTES_AT_ONCE = 8;

/** How long one file may take to answer while kernels are measured. */
const MEASURED_ITEM_MS = 2000;

/**
 * Runs kernels as processes of this machine: needs nothing installed, isolates nothing but files and resources.
 *
 * A kernel is a keeper (`keeper.ts`) with the kernel runner as its child, in a session of its own. Nothing in it
 * depends on this process: kernels survive its end, however it ends, and a later one finds them by their notes.
 * What a mount namespace or a network would give is absent: folders appear as links below the home directory,
 * `ro` is not enforced, and a port is the same inside and outside.
 */
export class ProcessBackend implements KernelBackend {
  readonly kind = 'process';
  readonly isOnHostNetwork = true;
  readonly images: BackendImages = {
    isAvailable: () => Promise.resolve(true),
    pull: () => Promise.resolve(),
    push: () => Promise.reject(withoutImages('push_image')),
    list: () => Promise.resolve([]),
    remove: () => Promise.reject(withoutImages('purge_images')),
    export: () => Promise.reject(withoutImages('commit')),
  };
  readonly networks: BackendNetworks = {
    createLocal: () => Promise.resolve(),
    destroyLocal: () => Promise.resolve(),
  };
  readonly files: BackendFiles;

  readonly #options: ProcessBackendOptions;
  readonly #logger: Logger;
  readonly #table = new ProcessTable();
  readonly #notes: KernelNotes;
  readonly #watcher: ExitWatcher;
  readonly #queue = new KeyedQueue<string>();
  readonly #questions: Questions;
  /** Null until the backend opens, and once it is closed. */
  #means: HostMeans | null = null;

  constructor(options: ProcessBackendOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#questions = options.questions ?? new Questions({ timeoutMs: MEASURED_ITEM_MS });
    this.#notes = new KernelNotes({
      directory: join(options.stateDir, 'kernels'),
      rebuild: (handle) => rebuildNote(handle, this.#table, this.#means?.cgroups ?? null),
      logger: options.logger,
    });
    this.#watcher = new ExitWatcher({
      table: this.#table,
      clock: options.clock ?? systemClock,
      logger: options.logger,
      pollIntervalMs: options.pollIntervalMs ?? 500,
      logMaxBytes: options.logMaxBytes ?? 1024 * 1024,
    });
    this.files = new WorkFiles({
      placesOf: (handle) => {
        const { work, mounts, uid, gid } = stateOf(handle);
        return { work, folders: mounts, view: 'linked', uid, gid };
      },
      listMaxEntries: options.listMaxEntries ?? 10_000,
    });
  }

  /** @throws ProcessBackendUnavailableError naming what is missing. */
  async open(): Promise<void> {
    this.#means = await HostMeans.find(this.#options, this.#table);
  }

  async close(): Promise<void> {
    await this.#queue.idle();
    await this.#watcher.close();
    this.#means = null;
  }

  onExit(listener: (exit: KernelExit) => void): () => void {
    return this.#watcher.onExit(listener);
  }

  /** @throws KernelProcessExistsError when the kernel is there already, KernelProcessStartError for an unusable plan. */
  create(plan: KernelPlan, signal: AbortSignal): Promise<KernelHandle> {
    return this.#queue.run(plan.kernelId, () => this.#create(plan, signal));
  }

  /** How the runner would be started; what only a real start knows, such as the names of sockets, is left out. */
  async describe(plan: KernelPlan): Promise<Readonly<Record<string, unknown>>> {
    const means = this.#require();
    const { tools } = means;
    const launch = launchOf(plan);
    const names = { sockets: '<sockets>', mark: `process-${plan.kernelId}` };
    const state = await this.#stateOf(plan, means, names);
    return {
      command: [...affinityCommand(launch, tools), ...runnerCommand(launch, state, tools)],
      environment: environmentOf(launch, state),
      memory_bytes: launch.memoryBytes,
      folders: state.mounts.map(({ at, source, permission }) => ({ at, source, permission })),
      not_shown: mountLinks(plan.mounts).impossible.map(({ target }) => target),
    };
  }

  /** Idempotent for a running kernel; starts an ended one again. */
  start(handle: KernelHandle, signal: AbortSignal): Promise<RunnerEndpoints> {
    return this.#queue.run(handle.kernelId, () => this.#start(handle, signal));
  }

  /** @throws KernelProcessStopError when something survives SIGKILL. */
  async stop(handle: KernelHandle, options: { readonly graceMs: number }): Promise<void> {
    // Not through the queue: an impatient second stop must not wait for the patience of the first.
    await this.#queue.passed(handle.kernelId);
    await this.#stop(handle, options.graceMs);
  }

  /** @throws KernelProcessStopError when something survives SIGKILL; everything is kept then. */
  remove(handle: KernelHandle): Promise<void> {
    return this.#queue.run(handle.kernelId, () => this.#remove(handle));
  }

  async inspect(handle: KernelHandle): Promise<KernelProcessState> {
    const note = await this.#notes.of(handle);
    if (note === null) return { status: 'missing' };
    if (!isStarted(note)) return { status: 'exited', exitCode: null, detail: 'created, never started' };
    if (note.exit !== null)
      return { status: 'exited', exitCode: note.exit.exitCode, detail: note.exit.detail };
    if (await this.#watcher.processesOf(note).leaderIsAlive()) {
      this.#watcher.watch(note, null);
      return { status: 'running', endpoints: endpointsOf(note.state.sockets) };
    }
    const { exitCode, detail } = await this.#watcher.conclude(note);
    return { status: 'exited', exitCode, detail };
  }

  list(owner: AgentId): Promise<readonly KernelHandle[]> {
    return this.#notes.list(owner);
  }

  /** A note holds no labels and no ports: a kernel is known again by the record in its scratch directory. */
  async details(handle: KernelHandle): Promise<KernelDetails | null> {
    const note = await this.#notes.of(handle);
    if (note === null) return null;
    return {
      scratch: note.launch === null ? dirname(note.state.work) : dirname(note.launch.config),
      labels: {},
      image: null,
      hostname: null,
      environment: note.launch?.environment ?? {},
      published: [],
      network: null,
      shmBytes: null,
      createdAtMs: null,
    };
  }

  async logs(handle: KernelHandle, options: { readonly maxBytes: number }): Promise<Uint8Array> {
    const note = await this.#notes.of(handle);
    return note === null ? new Uint8Array() : readConsole(note.state.directory, options.maxBytes);
  }

  /** A kernel's cgroup counts its memory; everything else is known of its processes. */
  async usageSources(handles: readonly KernelHandle[]): Promise<ReadonlyMap<KernelId, UsageSource>> {
    const notes = await mapBounded(handles, NOTES_AT_ONCE, (handle) =>
      this.#notes.of(handle).catch(() => null),
    );
    const running = notes
      .filter((note) => note !== null)
      .filter(isStarted)
      .filter(({ exit }) => exit === null);
    const members = await membersOfKernels(
      this.#table,
      running.map(({ process: leader, state }) => ({ leader, mark: markOf(state) })),
      this.#questions,
    );
    return new Map(
      running.flatMap(({ ids, process: { cgroup } }, index) => {
        const pids = members[index] ?? [];
        return pids.length === 0
          ? []
          : [[ids.kernelId, { pids, cgroups: cgroup === null ? [] : [cgroup] }] as const];
      }),
    );
  }

  commit(): Promise<string> {
    return Promise.reject(withoutImages('commit'));
  }

  async #create(plan: KernelPlan, signal: AbortSignal): Promise<KernelHandle> {
    const means = this.#require();
    throwIfCancelled(signal, `kernel ${plan.kernelId}`);
    if (!(await stat(plan.scratch.work).catch(() => null))?.isDirectory())
      throw new KernelProcessStartError(
        `kernel ${plan.kernelId} has no work directory at ${plan.scratch.work}`,
      );
    for (const { source, target } of mountLinks(plan.mounts).impossible)
      this.#logger.warn('a folder outside the home directory cannot be shown to a kernel process', {
        kernelId: plan.kernelId,
        source,
        target,
      });
    const nonce = randomBytes(6).toString('hex');
    const state = await this.#stateOf(plan, means, {
      sockets: join(means.sockets, nonce),
      mark: `process-${plan.kernelId}.${nonce}`,
    });
    const note: Note = {
      version: 1,
      ids: {
        agentId: plan.agentId,
        kernelId: plan.kernelId,
        sessionId: plan.sessionId,
        containerId: asContainerId(`process-${plan.kernelId}`),
      },
      state,
      launch: launchOf(plan),
      process: null,
      exit: null,
    };
    await this.#notes.add(note, {
      make: async () => {
        await linkMounts(state);
        throwIfCancelled(signal, `kernel ${plan.kernelId}`);
      },
      undo: () => unlinkMounts(state),
    });
    return handleOf(note);
  }

  async #start(handle: KernelHandle, signal: AbortSignal): Promise<RunnerEndpoints> {
    const { tools, cgroups } = this.#require();
    throwIfCancelled(signal, `kernel ${handle.kernelId}`);
    const note = await this.#notes.of(handle);
    if (note === null)
      throw new KernelProcessMissingError(
        `kernel ${handle.kernelId} is not here: it was removed or never created`,
      );
    const { launch } = note;
    if (launch === null)
      throw new KernelProcessStartError(
        `the note of kernel ${handle.kernelId} is damaged: remove the kernel and create it again`,
      );
    if (isStarted(note) && note.exit === null) {
      if (await this.#watcher.processesOf(note).leaderIsAlive()) {
        this.#watcher.watch(note, null);
        return endpointsOf(note.state.sockets);
      }
      await this.#watcher.settled(note);
    }
    const { niceness = 0 } = this.#options;
    const parts = { tools, cgroups, table: this.#table, watcher: this.#watcher, logger: this.#logger };
    await startKernel({ ...note, launch }, { ...parts, niceness }, signal);
    return endpointsOf(note.state.sockets);
  }

  async #stop(handle: KernelHandle, graceMs: number): Promise<void> {
    const note = await this.#notes.of(handle);
    if (note === null || !isStarted(note) || note.exit !== null) return;
    await this.#watcher.processesOf(note).terminate(graceMs);
    await this.#watcher.settled(note);
  }

  async #remove(handle: KernelHandle): Promise<void> {
    await this.#stop(handle, 0);
    const note = await this.#notes.of(handle);
    if (note === null) return;
    const { state } = note;
    await rm(state.sockets, { recursive: true, force: true });
    await unlinkMounts(state);
    await this.#notes.remove(note);
  }

  async #stateOf(
    plan: KernelPlan,
    means: HostMeans,
    names: Pick<ProcessState, 'sockets' | 'mark'>,
  ): Promise<ProcessState> {
    return {
      directory: this.#notes.directoryOf(plan.kernelId),
      work: plan.scratch.work,
      ...names,
      ...(await means.identityOf(plan)),
      mounts: mountLinks(plan.mounts).links,
    };
  }

  #require(): HostMeans {
    if (this.#means === null) throw new ProcessBackendUnavailableError('the process backend is not open');
    return this.#means;
  }
}

const isStarted = (note: Note): note is StartedNote => note.process !== null;

const withoutImages = (functionName: string) =>
  new NotImplementedError(functionName, 'the process backend has no images: use the docker backend');
