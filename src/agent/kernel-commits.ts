import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { CommittedImage, KernelBackend } from '../backends/backend.js';
import { within } from '../core/async.js';
import type { Clock } from '../core/clock.js';
import { NotImplementedError, RuntimeError } from '../core/errors.js';
import type { AgentId, KernelId } from '../core/ids.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { Logger } from '../core/logger.js';
import type { Kernel } from '../kernels/kernel.js';
import type { KernelRegistry } from '../kernels/kernel-registry.js';
import type { KernelCommit } from './agent.js';
import type { BackgroundTasks, ReportProgress } from './background-tasks.js';
import { CommitLocks, type LockHolders } from './commit-locks.js';
import { type CommitPlaces, commitPlaces, refuseLinksOutside } from './commit-places.js';
import { writeCompressed } from './image-file.js';
import { PassingImages } from './passing-images.js';

export interface CommitSettings {
  /** Where the files and locks are: `agent.image-commit-path`. Null where there are no images. */
  readonly root: string | null;
  /** For the engine's part of the work; null: no limit. */
  readonly timeoutMs: number | null;
  readonly holders: LockHolders;
}

/** Stands for a place where there is none. */
const NOWHERE = '/commits';

interface KernelCommitParts {
  readonly agentId: AgentId;
  readonly settings: CommitSettings;
  readonly registry: KernelRegistry;
  readonly backend: Pick<KernelBackend, 'commit' | 'images'>;
  readonly tasks: BackgroundTasks;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Images of kernels, made in background tasks (spec/kernel-lifecycle.md 4.2). */
export class KernelCommits {
  readonly #parts: KernelCommitParts;
  /** Null where there are no images. */
  readonly #disk: { readonly root: string; readonly locks: CommitLocks } | null;
  /** The engine lets the processes go on when the first of two commits is done, so they come one after another. */
  readonly #turns = new KeyedQueue<KernelId>();
  readonly #passing: PassingImages;

  constructor(parts: KernelCommitParts) {
    this.#parts = parts;
    const { agentId, settings, backend, clock, logger } = parts;
    this.#passing = new PassingImages({ images: backend.images, clock, logger });
    const { root, holders } = settings;
    this.#disk = root === null ? null : { root, locks: new CommitLocks({ agentId, root, holders, logger }) };
  }

  /** Kernels with a commit under way. */
  get ongoing(): ReadonlySet<KernelId> {
    return this.#disk?.locks.kernels ?? new Set();
  }

  /** Removes what an earlier run left unfinished. */
  async recover(): Promise<void> {
    for (const kernelId of (await this.#disk?.locks.purge()) ?? []) this.#passing.discard(kernelId);
  }

  /** Commits under way end with their tasks. */
  close(): void {
    this.#passing.close();
  }

  /**
   * Whatever concerns the kernel is told by the task's end (spec/rpc-functions.md 3.9.2).
   * @throws PermissionError for a place outside of the root.
   */
  start(commit: KernelCommit): { readonly taskId: string; readonly path: string | null } {
    const disk = this.#disk;
    // Without a place, paths are refused or accepted all the same.
    const places = commitPlaces(disk?.root ?? NOWHERE, commit);
    const taskId = this.#parts.tasks.start('commit', commit.kernelId, (signal, report) => {
      const kernel = this.#parts.registry.get(commit.kernelId);
      if (disk === null) throw withoutImages('commit');
      return this.#run(disk, kernel, commit, places, signal, report);
    });
    return { taskId, path: places.shownTarget };
  }

  /** @throws KeyError, PermissionError for a place outside of the root. */
  status(kernelId: KernelId, subdir: string): 'ready' | 'ongoing' {
    this.#parts.registry.get(kernelId);
    if (this.#disk === null) return 'ready';
    const { root, locks } = this.#disk;
    const { lock } = commitPlaces(root, { kernelId, subdir, filename: null });
    return locks.isHeld(lock) ? 'ongoing' : 'ready';
  }

  async #run(
    { root, locks }: { readonly root: string; readonly locks: CommitLocks },
    kernel: Kernel,
    commit: KernelCommit,
    places: CommitPlaces,
    signal: AbortSignal,
    report: ReportProgress,
  ): Promise<string | null> {
    for (const directory of [places.directory, dirname(places.target ?? places.lock), dirname(places.lock)]) {
      await mkdir(directory, { recursive: true });
      await refuseLinksOutside(root, directory);
    }
    const lock = await locks.take(places.lock, kernel.id);
    if (lock === null) {
      this.#parts.logger.warn('a commit of this kernel is under way already', { kernelId: kernel.id });
      return 'A commit of this kernel is under way already';
    }
    try {
      await this.#commit(kernel, commit, places, signal, report);
      return null;
    } finally {
      await lock.release();
    }
  }

  async #commit(
    kernel: Kernel,
    { canonical, extraLabels }: KernelCommit,
    places: CommitPlaces,
    signal: AbortSignal,
    report: ReportProgress,
  ): Promise<void> {
    const { target, partial } = places;
    const steps = target === null ? 1 : 2;
    await report(0, steps, 'Making an image of the container');
    const name = target === null ? canonical : this.#passing.nameOf(kernel.id);
    const imageId = await this.#makeImage(kernel, { canonical: name, labels: extraLabels }, signal);
    if (target !== null) {
      const { images } = this.#parts.backend;
      try {
        await report(1, steps, 'Writing the image to a file');
        await writeCompressed(await images.export(imageId, signal), { partial, target }, signal);
      } finally {
        await this.#passing.remove(imageId);
      }
    }
    await report(steps, steps, 'Committed');
  }

  /** Ends with the kernel. @throws RuntimeError, TimeoutError, CancelledError, and what the backend throws. */
  async #makeImage(kernel: Kernel, image: CommittedImage, signal: AbortSignal): Promise<string> {
    const { backend, settings } = this.#parts;
    const { handle } = kernel;
    const what = `commit of kernel ${kernel.id}`;
    if (kernel.termination !== null || handle === null)
      throw new RuntimeError(`${what}: it is ${kernel.state.name}; only a running kernel can be committed`);
    const stop = new AbortController();
    const forget = kernel.observe(() => {
      if (kernel.termination !== null)
        stop.abort(new RuntimeError(`${what}: the kernel was ended meanwhile`));
      else if (kernel.handle?.containerId !== handle.containerId)
        stop.abort(new RuntimeError(`${what}: the kernel was restarted meanwhile`));
    });
    const either = AbortSignal.any([signal, stop.signal]);
    const limit = settings.timeoutMs === null ? {} : { timeoutMs: settings.timeoutMs };
    try {
      const turn = this.#turns.run(kernel.id, () => {
        either.throwIfAborted();
        return within(backend.commit(handle, image, either), { ...limit, what });
      });
      return await within(turn, { signal: either, what });
    } catch (error) {
      throw stop.signal.aborted ? stop.signal.reason : error;
    } finally {
      forget();
      // After a time limit, this tells the backend that nobody wants the image any more.
      stop.abort();
    }
  }
}

const withoutImages = (functionName: string) =>
  new NotImplementedError(functionName, 'this backend has no images: use the docker backend');
