import type { Clock } from '../../core/clock.js';
import type { KernelHandle } from '../backend.js';
import type { ContainerWatcher } from './container-watcher.js';
import type { EngineContainers } from './engine-containers.js';
import type { Container } from './engine-schemas.js';
import { ContainerStopError } from './errors.js';
import { isActive } from './exit-outcome.js';
import type { KernelContainers } from './kernel-containers.js';

export interface ContainerEndsOptions {
  readonly containers: Pick<EngineContainers, 'inspect' | 'kill' | 'remove'>;
  readonly kernels: KernelContainers;
  readonly watcher: Pick<ContainerWatcher, 'watch' | 'isWatching' | 'expectEnd' | 'look' | 'ended'>;
  readonly clock: Clock;
  /** How long a killed container may take to be gone. */
  readonly killDeadlineMs: number;
}

/** Ends and removes containers. @throws ContainerStopError when one outlives its kill. */
export class ContainerEnds {
  readonly #options: ContainerEndsOptions;

  constructor(options: ContainerEndsOptions) {
    this.#options = options;
  }

  /**
   * Asks it to end, kills it after the grace time, and resolves when its end has been reported.
   * @returns whether there may be a container of the handle.
   */
  async stop(handle: KernelHandle, graceMs: number): Promise<boolean> {
    const { kernels, watcher, killDeadlineMs } = this.#options;
    const isRunning = this.#isRunning(handle);
    if (isRunning === false) return true;
    if (isRunning === null) {
      const container = await kernels.find(handle);
      if (container === null || !isActive(container)) {
        await watcher.look(handle);
        return container !== null;
      }
      watcher.watch(handle, container);
    }
    if (graceMs > 0 && (await this.#endBy('SIGINT', handle, graceMs))) return true;
    if (!(await this.#endBy('SIGKILL', handle, killDeadlineMs))) throw this.#stuck(handle);
    return true;
  }

  /** One that runs is killed first. */
  async remove(handle: KernelHandle): Promise<void> {
    const { containers, kernels } = this.#options;
    // "Removal is already in progress" is fine, too, but gone means gone.
    if ((await this.stop(handle, 0)) && !(await containers.remove(handle.containerId)))
      await this.#poll(handle, (container) => container === null);
    kernels.forget(handle);
  }

  /** Kills one that nobody watches. @returns it as it is when it does not run any more; null: it is gone. */
  async kill(handle: KernelHandle): Promise<Container | null> {
    await this.#options.containers.kill(handle.containerId, 'SIGKILL');
    return this.#poll(handle, (container) => container === null || !isActive(container));
  }

  /** Whether a container of the handle runs, as far as this process knows; null: the engine must be asked. */
  #isRunning(handle: KernelHandle): boolean | null {
    const { kernels, watcher } = this.#options;
    const known = kernels.stateOf(handle);
    if (known === null) return null;
    if (watcher.isWatching(handle)) return true;
    // A start that failed or was cancelled: who knows?
    return known === 'started' ? null : false;
  }

  /** Sends the signal to a watched container. @returns whether its end has been reported within that time. */
  async #endBy(signal: 'SIGINT' | 'SIGKILL', handle: KernelHandle, timeoutMs: number): Promise<boolean> {
    const { containers, watcher } = this.#options;
    watcher.expectEnd(handle);
    // One that does not run may have ended unheard.
    if (!(await containers.kill(handle.containerId, signal)) && (await watcher.look(handle))) return true;
    return watcher.ended(handle, timeoutMs);
  }

  async #poll(
    handle: KernelHandle,
    isSo: (container: Container | null) => boolean,
  ): Promise<Container | null> {
    const { containers, clock, killDeadlineMs } = this.#options;
    const deadline = clock.monotonicMs() + killDeadlineMs;
    for (let pauseMs = 20; ; pauseMs = Math.min(2 * pauseMs, 500)) {
      const container = await containers.inspect(handle.containerId);
      if (isSo(container)) return container;
      if (clock.monotonicMs() >= deadline) throw this.#stuck(handle);
      await clock.sleep(pauseMs);
    }
  }

  #stuck({ containerId, kernelId }: KernelHandle): ContainerStopError {
    return new ContainerStopError(
      `container ${containerId} of kernel ${kernelId} is still there ${String(this.#options.killDeadlineMs)} ms after it was killed: look at the engine`,
      { retryable: true },
    );
  }
}
