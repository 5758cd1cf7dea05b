import type { BackendNetworks } from '../backend.js';
import type { EngineNetworks } from './engine-networks.js';

const CLUSTER_NETWORK_LABEL = { 'ai.backend.cluster-network': '1' };

/** Bridge networks of sessions with several kernels on this machine (spec/kernel-lifecycle.md 4.7). */
export class DockerNetworks implements BackendNetworks {
  readonly #networks: EngineNetworks;

  constructor(networks: EngineNetworks) {
    this.#networks = networks;
  }

  async createLocal(name: string): Promise<void> {
    if (!(await this.#networks.exists(name))) await this.#networks.createBridge(name, CLUSTER_NETWORK_LABEL);
  }

  /** @throws EngineError while a container is connected to it. */
  destroyLocal(name: string): Promise<void> {
    return this.#networks.remove(name);
  }
}
