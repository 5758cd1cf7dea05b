import { messageOf } from '../../core/errors.js';
import type { AgentId } from '../../core/ids.js';
import type { Logger } from '../../core/logger.js';
import type { KernelHandle } from '../backend.js';
import type { EngineContainers } from './engine-containers.js';
import type { Container } from './engine-schemas.js';
import { isActive } from './exit-outcome.js';
import { adoptedHandle, handleFromLabels, KERNEL_LABEL, OWNER_LABEL } from './kernel-labels.js';

/** `fresh`: made by this process and never started. `idle`: was seen not to run. `started`: runs, as far as is known. */
export type KnownState = 'fresh' | 'idle' | 'started';

/**
 * The containers of kernels, as the engine shows them and as this process has seen them by itself. The engine gives
 * an id to one container only, and labels never change, so whose a container is has to be asked once.
 */
export class KernelContainers {
  readonly #containers: Pick<EngineContainers, 'inspect' | 'list'>;
  readonly #logger: Logger;
  /** By container id. */
  readonly #seen = new Map<string, { readonly handle: KernelHandle; readonly state: KnownState }>();

  constructor(containers: Pick<EngineContainers, 'inspect' | 'list'>, logger: Logger) {
    this.#containers = containers;
    this.#logger = logger;
  }

  /** Null when it is gone, or is another's: what comes from a journal names what is stopped and removed. */
  async find(handle: KernelHandle): Promise<Container | null> {
    const { agentId, kernelId, containerId } = handle;
    const container = await this.#containers.inspect(containerId);
    const labels = container?.Config.Labels ?? {};
    if (container === null || labels[OWNER_LABEL] !== agentId || labels[KERNEL_LABEL] !== kernelId)
      return null;
    this.learn(handle, isActive(container) ? 'started' : 'idle');
    return container;
  }

  /** All of one agent, alive or dead; one whose labels nobody can read is told of and left out. */
  async list(owner: AgentId): Promise<readonly KernelHandle[]> {
    const handles: KernelHandle[] = [];
    for (const { Id, Labels } of await this.#containers.list([`${OWNER_LABEL}=${owner}`]))
      try {
        const handle = await this.handleOf(Id, Labels);
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

  /**
   * Of a container that we or the original have made; null when it is no kernel.
   * @throws ZodError, SyntaxError or ValueError when its labels are damaged.
   */
  async handleOf(id: string, labels: Readonly<Record<string, string>>): Promise<KernelHandle | null> {
    const own = handleFromLabels(id, labels);
    if (own !== null) return own;
    const container = await this.#containers.inspect(id);
    return container === null ? null : adoptedHandle(container);
  }

  /** The container is of the handle's kernel and agent: its labels say so, or this process has made it. */
  learn(handle: KernelHandle, state: KnownState): void {
    this.#seen.set(handle.containerId, { handle, state });
  }

  /** Null: the engine must be asked, also when the handle names another kernel or agent than was seen. */
  stateOf({ agentId, kernelId, containerId }: KernelHandle): KnownState | null {
    const seen = this.#seen.get(containerId);
    return seen?.handle.agentId === agentId && seen.handle.kernelId === kernelId ? seen.state : null;
  }

  forget({ containerId }: KernelHandle): void {
    this.#seen.delete(containerId);
  }
}
