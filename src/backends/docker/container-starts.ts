import { throwIfCancelled } from '../../core/async.js';
import { messageOf } from '../../core/errors.js';
import type { KernelHandle } from '../backend.js';
import type { ContainerEnds } from './container-ends.js';
import { checkPorts, takenPortsOf } from './container-ports.js';
import type { ContainerUsage } from './container-usage.js';
import type { ContainerWatcher } from './container-watcher.js';
import type { Engine } from './engine.js';
import { statusOf } from './engine-failures.js';
import type { Container } from './engine-schemas.js';
import { ContainerStartError, KernelContainerMissingError } from './errors.js';
import { isActive } from './exit-outcome.js';
import type { KernelContainers } from './kernel-containers.js';
import { stateOf } from './kernel-labels.js';

export interface ContainerStartsOptions {
  readonly engine: {
    readonly containers: Pick<Engine['containers'], 'start'>;
    readonly networks: Pick<Engine['networks'], 'connect'>;
  };
  readonly kernels: KernelContainers;
  readonly ends: Pick<ContainerEnds, 'kill'>;
  readonly watcher: Pick<ContainerWatcher, 'watch' | 'look' | 'forget'>;
  readonly usage: Pick<ContainerUsage, 'learn'>;
}

/** Starts containers. A start that fails or is cancelled leaves the container as if it had never been. */
export class ContainerStarts {
  readonly #options: ContainerStartsOptions;
  /** Container id -> when the start began that was cancelled: what it ran after that does not count. */
  readonly #cancelled = new Map<string, string>();

  constructor(options: ContainerStartsOptions) {
    this.#options = options;
  }

  /**
   * Also fine for one that runs.
   * @throws KernelContainerMissingError, ContainerStartError, PortMismatchError, EngineError, CancelledError
   */
  async start(handle: KernelHandle, signal: AbortSignal): Promise<void> {
    const { engine, kernels, watcher } = this.#options;
    const what = `kernel ${handle.kernelId}`;
    throwIfCancelled(signal, what);
    if (kernels.stateOf(handle) !== 'fresh') {
      const before = await kernels.find(handle);
      if (before === null) throw isMissing(handle);
      if (isActive(before)) {
        watcher.watch(handle, before);
        return;
      }
      await watcher.look(handle);
    }
    throwIfCancelled(signal, what);
    kernels.learn(handle, 'started');
    await engine.containers.start(handle.containerId).catch((error: unknown) => {
      throw statusOf(error) === 404 && /no such container/i.test(messageOf(error))
        ? isMissing(handle)
        : new ContainerStartError(`${what}: ${messageOf(error)}`, {
            cause: error,
            details: { takenPorts: takenPortsOf(messageOf(error), stateOf(handle).published) },
          });
    });
    if (signal.aborted) await this.#undo(handle);
    throwIfCancelled(signal, what);
    this.#cancelled.delete(handle.containerId);
    watcher.watch(handle);
    await this.#complete(handle).catch(async (error: unknown) => {
      await this.#undo(handle);
      throw error;
    });
  }

  /** Its last run was a start that was cancelled. */
  wasCancelled({ Id, State }: Container): boolean {
    return this.#cancelled.get(Id) === State.StartedAt;
  }

  /** The container is gone. */
  forget({ containerId }: KernelHandle): void {
    this.#cancelled.delete(containerId);
  }

  /** What can be done only when the container runs: its ports are compared, its devices' networks joined. */
  async #complete(handle: KernelHandle): Promise<void> {
    const { engine, kernels, watcher, usage } = this.#options;
    const { published, networks } = stateOf(handle);
    const container = await kernels.find(handle);
    if (container === null || !isActive(container)) {
      // It has ended before it was watched.
      await watcher.look(handle);
      return;
    }
    usage.learn(container);
    watcher.watch(handle, container);
    checkPorts(container, published);
    for (const network of networks)
      if (!container.NetworkSettings.networks.includes(network))
        await engine.networks.connect(network, handle.containerId);
  }

  /** Nobody has been told that it started, so nobody is told that it ended. */
  async #undo(handle: KernelHandle): Promise<void> {
    const { ends, watcher } = this.#options;
    watcher.forget(handle);
    const container = await ends.kill(handle);
    if (container !== null) this.#cancelled.set(container.Id, container.State.StartedAt);
  }
}

export const isMissing = ({ kernelId }: KernelHandle) =>
  new KernelContainerMissingError(
    `the container of kernel ${kernelId} is not here: it was removed or never created`,
  );
