import type { KeyEvent, KeyValueStore, KeyWatch } from './key-value-store.js';
import { flatten, nest, type NestedMap } from './nested-map.js';

export type Scope = 'global' | 'sgroup' | 'node';

export interface AgentEtcdViewOptions {
  readonly store: KeyValueStore;
  /** `[etcd] namespace`. */
  readonly namespace: string;
  readonly agentId: string;
  /** Asked on every call, so that a change of the group applies at once. */
  readonly scalingGroup: () => string;
}

/**
 * One agent's view of the shared store: its own node and scaling group laid over what all share. Many views share
 * one store (spec/events-and-stores.md 1.2, 1.3, 1.8).
 */
export class AgentEtcdView {
  readonly #store: KeyValueStore;
  readonly #root: string;
  readonly #agentId: string;
  readonly #scalingGroup: () => string;

  constructor(options: AgentEtcdViewOptions) {
    this.#store = options.store;
    this.#root = `/sorna/${options.namespace}/`;
    this.#agentId = options.agentId;
    this.#scalingGroup = options.scalingGroup;
  }

  /** The narrowest scope that has the key wins; an empty text counts. `node` is the merged view. */
  async get(key: string, scope: Scope = 'node'): Promise<string | null> {
    for (const candidate of SEARCH_ORDER[scope]) {
      const value = await this.#store.get(this.#physical(key, candidate));
      if (value !== null) return value;
    }
    return null;
  }

  /** Of the node's own keys alone: what other scopes hold under this key does not stand in. */
  getOwn(key: string): Promise<string | null> {
    return this.#store.get(this.#physical(key, 'node'));
  }

  /** Trees of all scopes, merged at their top level only: a narrower scope replaces the whole subtree. */
  async getPrefix(prefix: string, scope: Scope = 'node'): Promise<NestedMap> {
    const trees = await Promise.all(
      SEARCH_ORDER[scope].map(async (candidate) => {
        const physical = this.#physical(prefix, candidate).replace(/\/$/, '');
        return nest(await this.#store.list(physical), physical);
      }),
    );
    return new Map(trees.reverse().flatMap((tree) => [...tree]));
  }

  async put(key: string, value: string, scope: Scope = 'global'): Promise<void> {
    await this.#store.write([{ type: 'put', key: this.#physical(key, scope), value }]);
  }

  /** One transaction. */
  async putTree(key: string, tree: NestedMap, scope: Scope = 'global'): Promise<void> {
    const pairs = flatten(tree, this.#physical(key, scope));
    await this.#store.write(pairs.map(([path, value]) => ({ type: 'put', key: path, value })));
  }

  async delete(key: string, scope: Scope = 'global'): Promise<void> {
    await this.#store.write([{ type: 'delete', key: this.#physical(key, scope) }]);
  }

  async deletePrefix(prefix: string, scope: Scope = 'global'): Promise<void> {
    await this.#store.write([{ type: 'delete-prefix', prefix: this.#physical(prefix, scope) }]);
  }

  /** Keys of the events are relative to the namespace and the scope. */
  watchPrefix(
    prefix: string,
    listener: (event: KeyEvent) => void,
    scope: Scope = 'global',
  ): Promise<KeyWatch> {
    const base = this.#physical('', scope);
    return this.#store.watch(this.#physical(prefix, scope), (event) => {
      listener({ ...event, key: event.key.slice(base.length) });
    });
  }

  #physical(key: string, scope: Scope): string {
    const logical = scope === 'global' ? key : `${this.#prefix(scope)}/${key}`;
    return this.#root + logical.replace(/^\//, '');
  }

  #prefix(scope: 'sgroup' | 'node'): string {
    const prefix = scope === 'node' ? `nodes/agents/${this.#agentId}` : `sgroup/${this.#scalingGroup()}`;
    return prefix.replace(/\/+$/, '');
  }
}

const SEARCH_ORDER: Readonly<Record<Scope, readonly Scope[]>> = {
  node: ['node', 'sgroup', 'global'],
  sgroup: ['sgroup', 'global'],
  global: ['global'],
};
