import type { BackendImages } from '../backends/backend.js';
import { within } from '../core/async.js';
import type { Clock } from '../core/clock.js';
import { isSpleniumError, messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { EventSink } from '../events/catalogue.js';
import { ImageNotAvailableError } from '../kernels/errors.js';
import type { ImagePullRequest } from '../kernels/requests.js';
import type { BackgroundTasks, ReportProgress } from './background-tasks.js';
import { TransferReport } from './transfer-report.js';

interface ImagePullParts {
  readonly agentId: AgentId;
  readonly images: BackendImages;
  readonly tasks: BackgroundTasks;
  readonly events: EventSink;
  readonly clock: Clock;
  /** Null: no limit. */
  readonly pullTimeoutMs: number | null;
}

/** `check_and_pull`: images are checked and fetched in background tasks (spec/rpc-functions.md 3.4). */
export class ImagePulls {
  readonly #parts: ImagePullParts;
  /** Canonical names that are being checked or pulled. */
  readonly #active = new Set<string>();

  constructor(parts: ImagePullParts) {
    this.#parts = parts;
  }

  isPulling(canonical: string): boolean {
    return this.#active.has(canonical);
  }

  /** Returns the id of the background task. */
  start(image: ImagePullRequest): string {
    return this.#parts.tasks.start('pull', image.canonical, async (signal, report) => {
      // Somebody else's pull of the same image serves this caller too; its events tell the end.
      if (this.#active.has(image.canonical)) return null;
      this.#active.add(image.canonical);
      try {
        await this.#checkAndPull(image, signal, report);
        return null;
      } finally {
        this.#active.delete(image.canonical);
      }
    });
  }

  async #checkAndPull(image: ImagePullRequest, signal: AbortSignal, report: ReportProgress): Promise<void> {
    const { agentId, images, events, clock, pullTimeoutMs } = this.#parts;
    const { canonical } = image;
    if (await images.isAvailable(image)) {
      const message = 'Image already exists';
      const timestampMs = clock.nowMs();
      await events.publish(agentId, { name: 'image_pull_finished', image: canonical, timestampMs, message });
      return;
    }
    if (image.autoPull === 'none')
      throw new ImageNotAvailableError(`${canonical} is not on this node and auto-pull is off`);
    await events.publish(agentId, {
      name: 'image_pull_started',
      image: canonical,
      timestampMs: clock.nowMs(),
    });
    const limit = new AbortController();
    const either = AbortSignal.any([signal, limit.signal]);
    const progress = new TransferReport({ report, clock });
    try {
      await within(images.pull(image, either, progress.listener), {
        what: `pulling ${canonical}`,
        signal,
        ...(pullTimeoutMs === null ? {} : { timeoutMs: pullTimeoutMs }),
      });
    } catch (error) {
      limit.abort();
      const message = isSpleniumError(error, 'TIMEOUT')
        ? `timeout (s:${String((pullTimeoutMs ?? 0) / 1000)})`
        : isSpleniumError(error)
          ? error.pythonRepr
          : messageOf(error);
      await events.publish(agentId, { name: 'image_pull_failed', image: canonical, message });
      throw error;
    } finally {
      await progress.finish();
    }
    await events.publish(agentId, {
      name: 'image_pull_finished',
      image: canonical,
      timestampMs: clock.nowMs(),
      message: null,
    });
  }
}
