import type { BackendImages, ImageUpload } from '../backends/backend.js';
import { within } from '../core/async.js';
import type { Clock } from '../core/clock.js';
import type { BackgroundTasks } from './background-tasks.js';
import { TransferReport } from './transfer-report.js';

interface ImagePushParts {
  readonly images: BackendImages;
  readonly tasks: BackgroundTasks;
  readonly clock: Clock;
  /** Null: no limit. */
  readonly pushTimeoutMs: number | null;
}

/** `push_image`: images are sent to their registry in background tasks (spec/rpc-functions.md 3.4). */
export class ImagePushes {
  readonly #parts: ImagePushParts;

  constructor(parts: ImagePushParts) {
    this.#parts = parts;
  }

  /** Returns the id of the background task; that of a local image, which has no registry, is done at once. */
  start(image: ImageUpload & { readonly isLocal: boolean }): string {
    const { images, tasks, clock, pushTimeoutMs } = this.#parts;
    const { canonical, registry, isLocal } = image;
    return tasks.start('push', canonical, async (signal, report) => {
      if (isLocal) return null;
      const limit = new AbortController();
      const progress = new TransferReport({ report, clock });
      try {
        await within(
          images.push({ canonical, registry }, AbortSignal.any([signal, limit.signal]), progress.listener),
          { what: `Failed to push image: ${canonical}`, signal, timeoutMs: pushTimeoutMs ?? undefined },
        );
      } finally {
        limit.abort();
        await progress.finish();
      }
      return null;
    });
  }
}
