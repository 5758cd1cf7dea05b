import { messageOf } from '../../core/errors.js';
import type { EngineConnection } from './engine-connection.js';
import { statusOf } from './engine-failures.js';
import { networkSchema, networksSchema } from './engine-schemas.js';

/** The engine's networks, as EngineContainers. @throws as EngineConnection */
export class EngineNetworks {
  readonly #connection: EngineConnection;

  constructor(connection: EngineConnection) {
    this.#connection = connection;
  }

  async exists(name: string): Promise<boolean> {
    const answer = await this.#connection.call('listing networks', (docker, abortSignal) =>
      docker.listNetworks({ filters: { name: [name] }, abortSignal }),
    );
    // The filter takes parts of names.
    return networksSchema.parse(answer).some((network) => network.Name === name);
  }

  /** Null when there is no such network or nobody knows. */
  async subnetOf(name: string): Promise<string | null> {
    const answer = await this.#connection.call(
      `inspecting network ${name}`,
      (docker) => docker.getNetwork(name).inspect(),
      { fine: [404] },
    );
    if (answer === null) return null;
    const { IPAM } = networkSchema.parse(answer);
    return IPAM?.Config?.find(({ Subnet }) => Subnet !== undefined)?.Subnet ?? null;
  }

  /** A bridge of this machine. Also fine for one that is there. */
  async createBridge(name: string, labels: Readonly<Record<string, string>>): Promise<void> {
    await this.#connection.call(
      `creating network ${name}`,
      (docker, abortSignal) =>
        docker.createNetwork({
          Name: name,
          Driver: 'bridge',
          CheckDuplicate: true,
          Labels: { ...labels },
          ...{ abortSignal },
        }),
      { timeoutMs: this.#connection.slowMs, fine: [409] },
    );
  }

  /** Also fine for a container that is attached already. */
  async connect(name: string, containerId: string): Promise<void> {
    const isAttached = (error: unknown) =>
      statusOf(error) === 403 && /already exists/i.test(messageOf(error));
    await this.#connection
      .call(
        `attaching a container to network ${name}`,
        (docker, abortSignal) =>
          docker.getNetwork(name).connect({ Container: containerId, ...{ abortSignal } }),
        { timeoutMs: this.#connection.slowMs },
      )
      .catch((error: unknown) => {
        if (!isAttached(error)) throw error;
      });
  }

  /** Also fine for one that is not there. @throws EngineError when a container is connected to it. */
  async remove(name: string): Promise<void> {
    await this.#connection.call(
      `removing network ${name}`,
      (docker, abortSignal) => docker.getNetwork(name).remove({ abortSignal }),
      { timeoutMs: this.#connection.slowMs, fine: [404] },
    );
  }
}
