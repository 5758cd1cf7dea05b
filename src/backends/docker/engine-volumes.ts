import type { EngineConnection } from './engine-connection.js';

/** The engine's volumes, as EngineContainers. @throws as EngineConnection */
export class EngineVolumes {
  readonly #connection: EngineConnection;

  constructor(connection: EngineConnection) {
    this.#connection = connection;
  }

  async exists(name: string): Promise<boolean> {
    const answer = await this.#connection.call(
      `inspecting volume ${name}`,
      (docker, abortSignal) => docker.getVolume(name).inspect({ abortSignal }),
      { fine: [404] },
    );
    return answer !== null;
  }

  /** Also fine for one that is not there. @throws EngineError while a container has it. */
  async remove(name: string): Promise<void> {
    await this.#connection.call(
      `removing volume ${name}`,
      (docker, abortSignal) => docker.getVolume(name).remove({ abortSignal }),
      { timeoutMs: this.#connection.slowMs, fine: [404] },
    );
  }
}
