import { deferred, within, type Deferred } from '../../core/async.js';
import type { ImageRequest, TransferListener } from '../backend.js';
import { engineFailure } from './engine-failures.js';
import type { EngineImages } from './engine-images.js';
import { ImagePullError } from './errors.js';
import { tagged } from './image-names.js';
import { followTransfer, loginOf } from './image-transfers.js';
import type { Transferred } from './transfer-meter.js';

interface Pull {
  readonly done: Promise<void>;
  readonly controller: AbortController;
  readonly listeners: Set<TransferListener>;
  last: Transferred | null;
  waiting: number;
}

/** Pulls of one image at one time are one (spec/kernel-lifecycle.md 2.6). */
export class ImagePulls {
  readonly #images: EngineImages;
  readonly #pulls = new Map<string, Pull>();

  constructor(images: EngineImages) {
    this.#images = images;
  }

  /**
   * Resolves when the stream has ended well. The signal ends the waiting of this caller; the pull itself ends with
   * its last caller. Whoever joins hears at once how far it is.
   * @throws ImagePullError, CancelledError
   */
  async pull(image: ImageRequest, signal: AbortSignal, onProgress?: TransferListener): Promise<void> {
    const pull = this.#pulls.get(image.canonical) ?? this.#begin(image);
    pull.waiting += 1;
    // Of its own, so that a listener that is given twice is two.
    const listener: TransferListener = (progress) => onProgress?.(progress);
    pull.listeners.add(listener);
    if (pull.last !== null) listener(pull.last);
    try {
      await within(pull.done, { signal, what: `pulling image ${image.canonical}` });
    } finally {
      pull.listeners.delete(listener);
      pull.waiting -= 1;
      if (pull.waiting === 0) {
        // A pull that is about to be given up is nothing to join.
        if (this.#pulls.get(image.canonical) === pull) this.#pulls.delete(image.canonical);
        pull.controller.abort();
      }
    }
  }

  #begin(image: ImageRequest): Pull {
    const controller = new AbortController();
    const outcome: Deferred<void> = deferred();
    const pull: Pull = { done: outcome.promise, controller, listeners: new Set(), last: null, waiting: 0 };
    this.#pulls.set(image.canonical, pull);
    this.#run(image, pull)
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

  async #run(image: ImageRequest, pull: Pull): Promise<void> {
    const what = `pulling image ${image.canonical}`;
    let failure: string | null;
    try {
      const { signal } = pull.controller;
      const records = await this.#images.pull(tagged(image.canonical), loginOf(image), signal);
      failure = await followTransfer(records, (progress) => {
        pull.last = progress;
        for (const listener of pull.listeners) listener(progress);
      });
    } catch (error) {
      const { message } = engineFailure(what, error);
      throw new ImagePullError(message, { cause: error, retryable: true });
    }
    if (failure !== null) throw new ImagePullError(`${what}: ${failure}`, { retryable: true });
    if ((await this.#images.idOf(image.canonical)) === null)
      throw new ImagePullError(`${what}: the image is not there afterwards`);
  }
}
