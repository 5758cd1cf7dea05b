import { within } from '../../core/async.js';
import { RuntimeError } from '../../core/errors.js';
import type { KernelId, SessionId } from '../../core/ids.js';
import type { KeyedQueue } from '../../core/keyed-queue.js';
import type { KernelImageRef, KernelRestartResult } from '../requests.js';
import type { KernelEndings } from './endings.js';
import type { KernelsInTheMaking } from './in-the-making.js';
import { refuseWhenClosing } from './failures.js';
import type { LifecycleParts } from './parts.js';
import { CreationProgress } from './progress.js';
import { restartFailureReason, restartKernel, updatedRequest } from './restart.js';
import type { ModelServices } from './serve-models.js';

export interface KernelRestart {
  readonly sessionId: SessionId;
  readonly kernelId: KernelId;
  readonly imageRef: KernelImageRef;
  readonly updatedConfig: Readonly<Record<string, unknown>>;
}

interface KernelRestartsParts {
  readonly parts: LifecycleParts;
  readonly queue: KeyedQueue<KernelId>;
  readonly making: KernelsInTheMaking;
  readonly endings: KernelEndings;
  readonly models: ModelServices;
  readonly closing: AbortSignal;
}

/** The restarts of one agent's kernels, those of one kernel one after another. */
export class KernelRestarts {
  readonly #restarts: KernelRestartsParts;

  constructor(restarts: KernelRestartsParts) {
    this.#restarts = restarts;
  }

  /** See `KernelLifecycle.restart`. */
  restart(restart: KernelRestart, signal: AbortSignal): Promise<KernelRestartResult> {
    const { kernelId } = restart;
    return within(
      this.#restarts.queue.run(kernelId, () => this.#run(restart, signal)),
      { signal, what: `restart of kernel ${kernelId}` },
    );
  }

  async #run(restart: KernelRestart, signal: AbortSignal): Promise<KernelRestartResult> {
    const { parts, making, endings, models, closing } = this.#restarts;
    refuseWhenClosing(parts, closing);
    signal.throwIfAborted();
    const kernel = parts.registry.get(restart.kernelId);
    if (kernel.state.name !== 'running')
      throw new RuntimeError(
        `kernel ${kernel.id} is ${kernel.state.name}: only a running kernel can be restarted`,
      );
    const request = updatedRequest(kernel.request, restart.imageRef, restart.updatedConfig);
    const progress = CreationProgress.ofRestart(kernel);
    making.enter(progress);
    try {
      const result = await progress.measured(parts, () => restartKernel(parts, progress, request));
      models.start(kernel);
      return result;
    } catch (error) {
      const reason = restartFailureReason(progress.step);
      throw await endings.endFailed(progress, { message: 'kernel restart failed', reason, error });
    } finally {
      making.leave(progress);
    }
  }
}
