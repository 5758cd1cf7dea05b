import { EngineConnection, type EngineOptions } from './engine-connection.js';
import { EngineContainers } from './engine-containers.js';
import { EngineImages } from './engine-images.js';
import { EngineNetworks } from './engine-networks.js';
import { versionSchema } from './engine-schemas.js';
import type { EngineVersion } from './engine-version.js';
import { EngineVolumes } from './engine-volumes.js';

/** The container engine, by what it keeps. @throws as EngineConnection */
export class Engine {
  readonly containers: EngineContainers;
  readonly images: EngineImages;
  readonly networks: EngineNetworks;
  readonly volumes: EngineVolumes;
  readonly #connection: EngineConnection;

  constructor(options: EngineOptions) {
    this.#connection = new EngineConnection(options);
    this.containers = new EngineContainers(this.#connection);
    this.images = new EngineImages(this.#connection);
    this.networks = new EngineNetworks(this.#connection);
    this.volumes = new EngineVolumes(this.#connection);
  }

  async version(): Promise<EngineVersion> {
    const answer = await this.#connection.call('asking the engine for its version', (docker) =>
      docker.version(),
    );
    const { Version, ApiVersion } = versionSchema.parse(answer);
    return { engine: Version, api: ApiVersion };
  }
}
