import type { BackendImages } from '../backends/backend.js';
import type { Clock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import type { KernelId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';

const NAME = 'splenium-commit';
/** An engine goes on with a commit whose caller is gone, so its image may come after the first look. */
const LOOKS_AFTER_MS = [0, 60_000, 600_000];

interface PassingImagesParts {
  readonly images: Pick<BackendImages, 'remove'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * The images that commits to files make on their way. They have a name, so that those that a killed daemon leaves behind
 * are found again; it is not the one that managers give, which is that of the kernel's own image.
 */
export class PassingImages {
  readonly #parts: PassingImagesParts;
  readonly #closing = new AbortController();

  constructor(parts: PassingImagesParts) {
    this.#parts = parts;
  }

  nameOf(kernelId: KernelId): string {
    return `${NAME}:${kernelId}`;
  }

  /** The file is what was asked for: an image too many is trouble for the operator only. */
  async remove(imageId: string): Promise<void> {
    const { images, logger } = this.#parts;
    await images.remove(imageId, { force: false, isPruningParents: true }).catch((error: unknown) => {
      logger.error('the image of a commit to a file is not removed', { imageId, error: messageOf(error) });
    });
  }

  /** Looks for what a commit of an earlier run has left, in the background. */
  discard(kernelId: KernelId): void {
    this.#discard(kernelId).catch(() => undefined);
  }

  close(): void {
    this.#closing.abort(new Error('the agent stops'));
  }

  async #discard(kernelId: KernelId): Promise<void> {
    const { images, clock, logger } = this.#parts;
    const image = this.nameOf(kernelId);
    for (const afterMs of LOOKS_AFTER_MS) {
      if (afterMs > 0) await clock.sleep(afterMs, this.#closing.signal);
      try {
        await images.remove(image, { force: true, isPruningParents: true });
        logger.warn('removed the image of a commit that an earlier run did not finish', { image });
        return;
      } catch (error) {
        logger.debug('no image of an unfinished commit', { image, error: messageOf(error) });
      }
    }
  }
}

/** Nothing that kernels are to be made of. */
export const isPassingImage = (canonical: string): boolean => canonical.startsWith(`${NAME}:`);
