import type { KernelHandle } from '../backend.js';

/** `fresh`: made by this process and never started. `idle`: was seen not to run. `started`: runs, as far as is known. */
export type KnownState = 'fresh' | 'idle' | 'started';

/**
 * What this process has seen of containers by itself. The engine gives an id to one container only, and labels never
 * change, so whose a container is has to be asked once.
 */
export class KnownContainers {
  /** By container id. */
  readonly #seen = new Map<string, { readonly handle: KernelHandle; readonly state: KnownState }>();

  /** The container is of the handle's kernel and agent: its labels say so, or this process has made it. */
  learn(handle: KernelHandle, state: KnownState): void {
    this.#seen.set(handle.containerId, { handle, state });
  }

  /** Null: the engine must be asked, also when the handle names another kernel or agent than was seen. */
  stateOf({ agentId, kernelId, containerId }: KernelHandle): KnownState | null {
    const seen = this.#seen.get(containerId);
    return seen?.handle.agentId === agentId && seen.handle.kernelId === kernelId ? seen.state : null;
  }

  forget(containerId: string): void {
    this.#seen.delete(containerId);
  }
}
