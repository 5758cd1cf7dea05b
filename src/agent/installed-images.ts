import type { BackendImages, InstalledImage } from '../backends/backend.js';
import type { Clock } from '../core/clock.js';
import { within } from '../core/async.js';
import { messageOf } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { isPassingImage } from './passing-images.js';

interface InstalledImagesParts {
  readonly images: Pick<BackendImages, 'list'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** From the end of one scan to the beginning of the next; default 20 000 (spec/events-and-stores.md 4.4). */
  readonly intervalMs?: number;
}

type RemovalListener = (images: readonly InstalledImage[]) => void;

/**
 * The images that kernels can be made of, as the last scan has found them. The machine is every agent's, so one scan
 * serves them all. Scans follow each other and never pile up; one that fails leaves the list as it was.
 */
export class InstalledImages {
  readonly #parts: InstalledImagesParts;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<RemovalListener>();
  #current: readonly InstalledImage[] | null = null;
  #isFailing = false;
  #loop: Promise<void> = Promise.resolve();

  private constructor(parts: InstalledImagesParts) {
    this.#parts = parts;
  }

  /** Resolves after the first scan, well or badly ended: agents are announced with what they have. */
  static async start(parts: InstalledImagesParts): Promise<InstalledImages> {
    const images = new InstalledImages(parts);
    await images.#scan();
    images.#loop = images.#repeat();
    return images;
  }

  /** Null until a scan has succeeded: nobody can tell. */
  get current(): readonly InstalledImage[] | null {
    return this.#current;
  }

  /** Hears of images that were there and are gone. Returns an unsubscribe function. */
  onRemoved(listener: RemovalListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Does not wait for an engine that does not answer. Idempotent. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('the image scan stops'));
    await this.#loop;
  }

  async #repeat(): Promise<void> {
    const { clock, intervalMs = 20_000 } = this.#parts;
    for (;;) {
      try {
        await clock.sleep(intervalMs, this.#stop.signal);
      } catch {
        return;
      }
      await this.#scan();
    }
  }

  async #scan(): Promise<void> {
    const { images, logger } = this.#parts;
    try {
      const { signal } = this.#stop;
      const listed = await within(images.list(), { signal, what: 'listing images' });
      const found = listed.filter(({ canonical }) => !isPassingImage(canonical));
      const removed = vanished(this.#current ?? [], found);
      this.#current = found;
      if (this.#isFailing) logger.info('the image scan works again');
      this.#isFailing = false;
      if (removed.length === 0) return;
      logger.info('images are gone', { images: removed.map(({ canonical }) => canonical) });
      for (const listener of [...this.#listeners]) listener(removed);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      if (!this.#isFailing) logger.warn('images cannot be listed; trying on', { error: messageOf(error) });
      this.#isFailing = true;
    }
  }
}

/** Those whose name is not there any more; one with a new digest is. */
export function vanished(
  before: readonly InstalledImage[],
  now: readonly InstalledImage[],
): readonly InstalledImage[] {
  const names = new Set(now.map(({ canonical }) => canonical));
  return before.filter(({ canonical }) => !names.has(canonical));
}
