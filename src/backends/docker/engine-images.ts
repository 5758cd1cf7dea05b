import type { EngineConnection } from './engine-connection.js';
import { engineFailure } from './engine-failures.js';
import {
  imageDetailsSchema,
  imageSchema,
  listedImagesSchema,
  transferSchema,
  type ImageDetails,
  type ListedImage,
} from './engine-schemas.js';
import { EngineError } from './errors.js';
import { pathSafe } from './image-names.js';
import { jsonLines } from './json-lines.js';

export interface RegistryLogin {
  readonly username: string;
  readonly password: string;
  readonly serveraddress: string;
}

/** The engine's images, as EngineContainers. @throws as EngineConnection */
export class EngineImages {
  readonly #connection: EngineConnection;

  constructor(connection: EngineConnection) {
    this.#connection = connection;
  }

  /** The image's id, which is the digest of its configuration; null when it is not there. */
  async idOf(canonical: string): Promise<string | null> {
    const answer = await this.#inspect(canonical);
    return answer === null ? null : imageSchema.parse(answer).Id;
  }

  /** By name or id; null when it is not there. */
  async inspect(name: string): Promise<ImageDetails | null> {
    const answer = await this.#inspect(name);
    return answer === null ? null : imageDetailsSchema.parse(answer);
  }

  /** Without the layers that only lie between two images. */
  async list(): Promise<readonly ListedImage[]> {
    const answer = await this.#connection.call('listing images', (docker, abortSignal) =>
      docker.listImages({ abortSignal }),
    );
    return listedImagesSchema.parse(answer);
  }

  /** By name or id. */
  async remove(name: string, options: { readonly force: boolean; readonly noprune: boolean }): Promise<void> {
    await this.#connection.call(
      `removing image ${name}`,
      (docker, abortSignal) => docker.getImage(pathSafe(name)).remove({ ...options, abortSignal }),
      { timeoutMs: this.#connection.slowMs },
    );
  }

  /** The records of a pull's progress, in which the last may be an error. Has no deadline but the signal. */
  async pull(
    canonical: string,
    login: RegistryLogin | null,
    signal: AbortSignal,
  ): Promise<AsyncIterable<unknown>> {
    const { docker } = this.#connection;
    const options = { fromImage: canonical, abortSignal: signal };
    const pulling: Promise<NodeJS.ReadableStream> =
      login === null ? docker.createImage(options) : docker.createImage(login, options);
    const stream = await pulling.catch((error: unknown) => {
      throw engineFailure(`pulling image ${canonical}`, error);
    });
    return jsonLines(stream as AsyncIterable<unknown>);
  }

  /** The records of a push's progress, as those of a pull. Has no deadline but the signal. */
  async push(
    image: { readonly name: string; readonly tag: string },
    login: RegistryLogin | null,
    signal: AbortSignal,
  ): Promise<AsyncIterable<unknown>> {
    const { name, tag } = image;
    // Engines want the header of the login also where there is none.
    const authconfig = login ?? { username: '', password: '', serveraddress: '' };
    const stream = await this.#connection.docker
      .getImage(pathSafe(name))
      .push({ tag, authconfig, abortSignal: signal })
      .catch((error: unknown) => {
        throw engineFailure(`pushing image ${name}:${tag}`, error);
      });
    return jsonLines(stream as AsyncIterable<unknown>);
  }

  /** What the archive of this machine holds, which the engine unpacks itself. @throws EngineError in the engine's words. */
  async load(path: string): Promise<void> {
    const what = `loading the image ${path}`;
    const answer = await this.#connection.call(
      what,
      async (docker) => {
        const stream: NodeJS.ReadableStream = await docker.loadImage(path, { quiet: true });
        let failure: string | undefined;
        for await (const value of jsonLines(stream as AsyncIterable<unknown>)) {
          const record = transferSchema.parse(value);
          failure = record.error ?? record.errorDetail?.message ?? failure;
        }
        return failure;
      },
      { timeoutMs: this.#connection.slowMs },
    );
    if (typeof answer === 'string') throw new EngineError(`${what}: ${answer}`);
  }

  /** The image as a tar archive. Has no deadline but the signal. */
  async export(id: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const stream = await this.#connection.get(`/images/${id}/get`, signal).catch((error: unknown) => {
      throw engineFailure(`exporting image ${id}`, error);
    });
    return stream as AsyncIterable<Uint8Array>;
  }

  #inspect(name: string): Promise<unknown> {
    return this.#connection.call(
      `inspecting image ${name}`,
      (docker) => docker.getImage(pathSafe(name)).inspect(),
      { fine: [404] },
    );
  }
}
