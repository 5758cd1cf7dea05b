import { messageOf } from './core/errors.js';
import type { AgentId } from './core/ids.js';
import type { Logger } from './core/logger.js';
import type { AgentEtcdView } from './stores/agent-etcd-view.js';

export type NodeStatus = 'starting' | 'running';

interface RegistrationParts {
  readonly views: readonly { readonly id: AgentId; readonly view: AgentEtcdView }[];
  /** Host part of the RPC listen address. */
  readonly host: string;
  readonly watcherPort: number | null;
  readonly logger: Logger;
}

/**
 * What each agent writes about itself into the store (spec/events-and-stores.md 1.5). Managers read it only to find
 * the watcher, so a store that is away at that moment delays nobody.
 */
export class Registration {
  readonly #parts: RegistrationParts;
  #failure: string | null = null;

  constructor(parts: RegistrationParts) {
    this.#parts = parts;
  }

  /** Why the store did not take the last status; null when it did. */
  get failure(): string | null {
    return this.#failure;
  }

  async announce(status: NodeStatus): Promise<void> {
    const { views, host, watcherPort, logger } = this.#parts;
    try {
      for (const { view } of views) {
        if (status === 'running') {
          await view.put('ip', host, 'node');
          if (watcherPort !== null) await view.put('watcher_port', String(watcherPort), 'node');
        }
        // The key of the node itself: it ends in a slash.
        await view.put('', status, 'node');
      }
      this.#failure = null;
    } catch (error) {
      this.#failure = messageOf(error);
      logger.warn('the status of the agents is not in the store', { status, error: this.#failure });
    }
  }
}
