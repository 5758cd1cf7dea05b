import { CancelledError } from '../../core/errors.js';
import { KeyedQueue } from '../../core/keyed-queue.js';
import type { Logger } from '../../core/logger.js';
import type {
  BackendImages,
  ImageRequest,
  ImageUpload,
  InstalledImage,
  TransferListener,
} from '../backend.js';
import { imageNameOf } from './container-spec.js';
import { engineFailure } from './engine-failures.js';
import type { EngineImages } from './engine-images.js';
import { ImagePushError } from './errors.js';
import { nameAndTag } from './image-names.js';
import { ImagePulls } from './image-pulls.js';
import { ImageScan } from './image-scan.js';
import { followTransfer, loginOf } from './image-transfers.js';

/** Images of the engine (spec/kernel-lifecycle.md 2.6, 4.3, 5.3). */
export class DockerImages implements BackendImages {
  readonly #images: EngineImages;
  readonly #pulls: ImagePulls;
  readonly #scan: ImageScan;
  /** By image id. */
  readonly #removals = new KeyedQueue<string>();

  constructor(images: EngineImages, logger: Logger) {
    this.#images = images;
    this.#pulls = new ImagePulls(images);
    this.#scan = new ImageScan(images, logger);
  }

  /** What was built here is taken to be here: the creation of the container tells if it is not. */
  async isAvailable(image: ImageRequest): Promise<boolean> {
    if (image.isLocal) return true;
    const id = await this.#images.idOf(image.canonical);
    if (id === null) return false;
    return image.autoPull !== 'digest' || id === image.digest;
  }

  /** @throws ImagePullError, CancelledError */
  pull(image: ImageRequest, signal: AbortSignal, onProgress?: TransferListener): Promise<void> {
    return this.#pulls.pull(image, signal, onProgress);
  }

  /** The signal ends the push itself. @throws ImagePushError, CancelledError */
  async push(image: ImageUpload, signal: AbortSignal, onProgress?: TransferListener): Promise<void> {
    const { canonical } = image;
    let failure: string | null;
    try {
      signal.throwIfAborted();
      const records = await this.#images.push(nameAndTag(canonical), loginOf(image), signal);
      failure = await followTransfer(records, onProgress ?? (() => undefined));
    } catch (error) {
      if (signal.aborted) throw new CancelledError(`pushing image ${canonical}: cancelled`);
      const { message } = engineFailure('the engine', error);
      throw pushError(canonical, message, error);
    }
    if (failure !== null) throw pushError(canonical, failure);
  }

  list(): Promise<readonly InstalledImage[]> {
    return this.#scan.scan();
  }

  async command({
    canonical,
    isLocal,
  }: Pick<ImageRequest, 'canonical' | 'isLocal'>): Promise<readonly string[]> {
    const name = imageNameOf({ imageCanonical: canonical, imageIsLocal: isLocal });
    return (await this.#images.inspect(name))?.Config?.Cmd ?? [];
  }

  /**
   * Names of one image go one after another: of two that go at the same moment the engine may take neither for the
   * last, and keep the image.
   * @throws EngineError, with status 404 when it is not there and 409 when it is in use.
   */
  async remove(
    name: string,
    options: { readonly force: boolean; readonly isPruningParents: boolean },
  ): Promise<void> {
    const { force, isPruningParents } = options;
    const id = await this.#images.idOf(name);
    await this.#removals.run(id ?? name, () =>
      this.#images.remove(name, { force, noprune: !isPruningParents }),
    );
  }

  /** @throws EngineError */
  export(id: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return this.#images.export(id, signal);
  }
}

/** In words that managers look for (spec/rpc-functions.md 3.4). */
const pushError = (canonical: string, why: string, cause?: unknown) =>
  new ImagePushError(`Failed to push image: ${canonical}: ${why}`, { cause, retryable: true });
