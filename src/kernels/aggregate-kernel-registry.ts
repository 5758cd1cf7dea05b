import { InvariantError, KeyError } from '../core/errors.js';
import type { AgentId, ContainerId, KernelId, SessionId } from '../core/ids.js';
import { DuplicateKernelIdError } from './errors.js';
import type { Kernel } from './kernel.js';
import type { KernelRegistry, KernelRegistryChange } from './kernel-registry.js';
import type { KernelState } from './kernel-state.js';

/**
 * The kernels of all agents of this process, live. It keeps no kernel of its own: every question goes to the agents'
 * registries, so there is nothing that could be out of date, and a look-up costs one map access an agent.
 *
 * Kernel ids are unique over all agents: scratch directories and container names are made of them. An agent whose
 * registry is attached here cannot add a kernel that a sibling has.
 */
export class AggregateKernelRegistry implements Iterable<Kernel> {
  readonly #registries = new Map<
    AgentId,
    { readonly registry: KernelRegistry; readonly detach: () => void }
  >();
  readonly #listeners = new Set<(change: KernelRegistryChange) => void>();

  /**
   * Includes one agent. Returns a function that takes it out again.
   * @throws InvariantError for an agent that is here already; DuplicateKernelIdError for a kernel that a sibling has.
   */
  attach(registry: KernelRegistry): () => void {
    const { agentId } = registry;
    if (this.#registries.has(agentId)) throw new InvariantError(`agent ${agentId} is already attached`);
    for (const kernel of registry) this.#refuseDuplicate(kernel);
    const detachGuard = registry.guard((kernel) => {
      this.#refuseDuplicate(kernel);
    });
    const detachListener = registry.onChange((change) => {
      for (const listener of [...this.#listeners]) listener(change);
    });
    const detach = () => {
      detachGuard();
      detachListener();
      this.#registries.delete(agentId);
    };
    this.#registries.set(agentId, { registry, detach });
    return detach;
  }

  get size(): number {
    let size = 0;
    for (const { registry } of this.#registries.values()) size += registry.size;
    return size;
  }

  /** @throws KeyError with the id as its message. */
  get(kernelId: KernelId): Kernel {
    const kernel = this.find(kernelId);
    if (!kernel) throw new KeyError(kernelId);
    return kernel;
  }

  find(kernelId: KernelId): Kernel | undefined {
    return this.#first((registry) => registry.find(kernelId));
  }

  findByContainer(containerId: ContainerId): Kernel | undefined {
    return this.#first((registry) => registry.findByContainer(containerId));
  }

  bySession(sessionId: SessionId): readonly Kernel[] {
    return [...this.#registries.values()].flatMap(({ registry }) => registry.bySession(sessionId));
  }

  byState(state: KernelState['name']): readonly Kernel[] {
    return [...this].filter((kernel) => kernel.state.name === state);
  }

  /** Agent by agent, each in the order of addition. */
  *[Symbol.iterator](): IterableIterator<Kernel> {
    for (const { registry } of this.#registries.values()) yield* registry;
  }

  /** Kernels per agent, agents without kernels included. */
  counts(): ReadonlyMap<AgentId, number> {
    return new Map([...this.#registries].map(([agentId, { registry }]) => [agentId, registry.size]));
  }

  /** Returns an unsubscribe function. A listener that throws is logged by the agent's registry. */
  onChange(listener: (change: KernelRegistryChange) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #first(look: (registry: KernelRegistry) => Kernel | undefined): Kernel | undefined {
    for (const { registry } of this.#registries.values()) {
      const kernel = look(registry);
      if (kernel) return kernel;
    }
    return undefined;
  }

  #refuseDuplicate(kernel: Kernel): void {
    const other = this.find(kernel.id);
    if (other && other !== kernel)
      throw new DuplicateKernelIdError(
        `kernel ${kernel.id} of agent ${kernel.agentId} exists already under agent ${other.agentId}: ` +
          'destroy it there first, or create the kernel with an id of its own',
        { details: { kernelId: kernel.id, agentIds: [other.agentId, kernel.agentId] } },
      );
  }
}
