import { deferred, throwIfCancelled, within, type Deferred } from '../../core/async.js';
import type { ImageRequest, TransferListener } from '../backend.js';

type Progress = Parameters<TransferListener>[0];

interface Pull {
  readonly done: Promise<void>;
  readonly controller: AbortController;
  readonly listeners: Set<TransferListener>;
  last: Progress | null;
  waiting: number;
}

/** Pulls an image until the signal ends that. */
type PullOne = (image: ImageRequest, signal: AbortSignal, onProgress: TransferListener) => Promise<void>;

/** Pulls of one image at one time are one (spec/kernel-lifecycle.md 2.6). */
export class JoinedPulls {
  readonly #pullOne: PullOne;
  readonly #pulls = new Map<string, Pull>();

  constructor(pullOne: PullOne) {
    this.#pullOne = pullOne;
  }

  /**
   * The signal ends the waiting of this caller; the pull itself ends with its last caller. Whoever joins hears at once
   * how far it is.
   * @throws what the pull fails with, CancelledError
   */
  async pull(image: ImageRequest, signal: AbortSignal, onProgress?: TransferListener): Promise<void> {
    const what = `pulling image ${image.canonical}`;
    throwIfCancelled(signal, what);
    const pull = this.#pulls.get(image.canonical) ?? this.#begin(image);
    pull.waiting += 1;
    // Of its own, so that a listener that is given twice is two.
    const listener: TransferListener = (progress) => onProgress?.(progress);
    pull.listeners.add(listener);
    if (pull.last !== null) listener(pull.last);
    try {
      await within(pull.done, { signal, what });
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
    const tell: TransferListener = (progress) => {
      pull.last = progress;
      for (const listener of pull.listeners) listener(progress);
    };
    this.#pullOne(image, controller.signal, tell)
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
}
