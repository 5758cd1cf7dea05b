import type { ImageRequest, TransferListener } from '../backend.js';
import { JoinedPulls } from '../images/joined-pulls.js';
import { engineFailure } from './engine-failures.js';
import type { EngineImages } from './engine-images.js';
import { ImagePullError } from './errors.js';
import { tagged } from './image-names.js';
import { followTransfer, loginOf } from './image-transfers.js';

/** Pulls of one image at one time are one (spec/kernel-lifecycle.md 2.6). */
export class ImagePulls {
  readonly #images: EngineImages;
  readonly #joined: JoinedPulls;

  constructor(images: EngineImages) {
    this.#images = images;
    this.#joined = new JoinedPulls((image, signal, onProgress) => this.#pullOne(image, signal, onProgress));
  }

  /**
   * Resolves when the stream has ended well. The signal ends the waiting of this caller; the pull itself ends with
   * its last caller. Whoever joins hears at once how far it is.
   * @throws ImagePullError, CancelledError
   */
  pull(image: ImageRequest, signal: AbortSignal, onProgress?: TransferListener): Promise<void> {
    return this.#joined.pull(image, signal, onProgress);
  }

  async #pullOne(image: ImageRequest, signal: AbortSignal, onProgress: TransferListener): Promise<void> {
    const what = `pulling image ${image.canonical}`;
    let failure: string | null;
    try {
      const records = await this.#images.pull(tagged(image.canonical), loginOf(image), signal);
      failure = await followTransfer(records, onProgress);
    } catch (error) {
      const { message } = engineFailure(what, error);
      throw new ImagePullError(message, { cause: error, retryable: true });
    }
    if (failure !== null) throw new ImagePullError(`${what}: ${failure}`, { retryable: true });
    if ((await this.#images.idOf(image.canonical)) === null)
      throw new ImagePullError(`${what}: the image is not there afterwards`);
  }
}
