import { deferred, within, type Deferred } from '../../core/async.js';
import type { BackendImages, ImageRequest, InstalledImage } from '../backend.js';
import { NotImplementedError } from '../../core/errors.js';
import { engineFailure, type Engine, type RegistryLogin } from './engine.js';
import { progressSchema } from './engine-schemas.js';
import { ImagePullError } from './errors.js';

interface Pull {
  readonly done: Promise<void>;
  readonly controller: AbortController;
  waiting: number;
}

/** Images of the engine (spec/kernel-lifecycle.md 2.6). Pulls of one image at one time are one. */
export class DockerImages implements BackendImages {
  readonly #engine: Engine;
  readonly #pulls = new Map<string, Pull>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async isAvailable(image: ImageRequest): Promise<boolean> {
    if (image.isLocal) return true;
    const id = await this.#engine.imageId(image.canonical);
    if (id === null) return false;
    return image.autoPull !== 'digest' || id === image.digest;
  }

  /**
   * Resolves when the stream has ended well. The signal ends the waiting of this caller; the pull itself ends with
   * its last caller.
   * @throws ImagePullError, CancelledError
   */
  async pull(image: ImageRequest, signal: AbortSignal): Promise<void> {
    const pull = this.#pulls.get(image.canonical) ?? this.#begin(image);
    pull.waiting += 1;
    try {
      await within(pull.done, { signal, what: `pulling image ${image.canonical}` });
    } finally {
      pull.waiting -= 1;
      if (pull.waiting === 0) {
        // A pull that is about to be given up is nothing to join.
        if (this.#pulls.get(image.canonical) === pull) this.#pulls.delete(image.canonical);
        pull.controller.abort();
      }
    }
  }

  push(): Promise<void> {
    return Promise.reject(new NotImplementedError('push_image'));
  }

  list(): Promise<readonly InstalledImage[]> {
    return Promise.resolve([]);
  }

  remove(): Promise<void> {
    return Promise.reject(new NotImplementedError('purge_images'));
  }

  export(): Promise<AsyncIterable<Uint8Array>> {
    return Promise.reject(new NotImplementedError('commit'));
  }

  #begin(image: ImageRequest): Pull {
    const controller = new AbortController();
    const outcome: Deferred<void> = deferred();
    const pull: Pull = { done: outcome.promise, controller, waiting: 0 };
    this.#pulls.set(image.canonical, pull);
    this.#run(image, controller.signal)
      .then(
        () => {
          outcome.resolve();
        },
        (error: unknown) => {
          outcome.reject(error);
        },
      )
      .finally(() => {
        if (this.#pulls.get(image.canonical) === pull) this.#pulls.delete(image.canonical);
      })
      .catch(() => undefined);
    return pull;
  }

  async #run(image: ImageRequest, signal: AbortSignal): Promise<void> {
    const what = `pulling image ${image.canonical}`;
    let records = 0;
    let failure: string | undefined;
    try {
      for await (const record of await this.#engine.pull(tagged(image.canonical), loginOf(image), signal)) {
        records += 1;
        const { error, errorDetail } = progressSchema.catch({}).parse(record);
        failure = error ?? errorDetail?.message ?? failure;
      }
    } catch (error) {
      const { message } = engineFailure(what, error);
      throw new ImagePullError(message, { cause: error, retryable: true });
    }
    if (failure !== undefined) throw new ImagePullError(`${what}: ${failure}`, { retryable: true });
    if (records === 0)
      throw new ImagePullError(`${what}: the engine ended without a word`, { retryable: true });
    if ((await this.#engine.imageId(image.canonical)) === null)
      throw new ImagePullError(`${what}: the image is not there afterwards`);
  }
}

/** Without a tag the engine would pull all of them. */
export function tagged(canonical: string): string {
  return canonical.includes('@') || /:[^/]*$/.test(canonical) ? canonical : `${canonical}:latest`;
}

/** Only a complete login is one. */
export function loginOf({ registry }: ImageRequest): RegistryLogin | null {
  if (registry === null) return null;
  const { name, username, password } = registry;
  return username === null || username === '' || password === null || password === ''
    ? null
    : { username, password, serveraddress: name };
}
