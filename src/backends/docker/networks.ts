import type { BackendNetworks } from '../backend.js';
import type { Engine } from './engine.js';

const CLUSTER_NETWORK_LABEL = { 'ai.backend.cluster-network': '1' };

/** Bridge networks of sessions with several kernels on this machine (spec/kernel-lifecycle.md 4.7). */
export class DockerNetworks implements BackendNetworks {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async createLocal(name: string): Promise<void> {
    if (!(await this.#engine.networkExists(name)))
      await this.#engine.createNetwork(name, CLUSTER_NETWORK_LABEL);
  }

  /** @throws EngineError while a container is connected to it. */
  destroyLocal(name: string): Promise<void> {
    return this.#engine.removeNetwork(name);
  }
}
