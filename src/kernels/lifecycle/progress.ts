import type { Kernel } from '../kernel.js';
import type { CreationStep } from '../kernel-state.js';
import type { LifecycleParts } from './parts.js';
import { type PartStep, StepWatch } from './step-watch.js';

/**
 * How far one creation or restart has come, and the means to break it off. It remembers the step after the kernel's
 * state has moved on to its end.
 */
export class CreationProgress {
  readonly kernel: Kernel;
  /** The manager may have heard of the kernel: from here on its end is announced. */
  announced: boolean;
  #step: CreationStep = 'accepted';
  #watch: StepWatch | null = null;
  readonly #abort = new AbortController();

  private constructor(kernel: Kernel, announced: boolean) {
    this.kernel = kernel;
    this.announced = announced;
  }

  static ofCreation(kernel: Kernel): CreationProgress {
    return new CreationProgress(kernel, false);
  }

  static ofRestart(kernel: Kernel): CreationProgress {
    return new CreationProgress(kernel, true);
  }

  get step(): CreationStep {
    return this.#step;
  }

  /** Aborts with the reason for which the creation is broken off. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get isBrokenOff(): boolean {
    return this.#abort.signal.aborted;
  }

  /** The first reason stays. */
  breakOff(reason: Error): void {
    this.#abort.abort(reason);
  }

  /** Does the work and measures every step that it enters, beginning with the current one. */
  async measured<T>(
    parts: Pick<LifecycleParts, 'agentId' | 'metrics' | 'clock'>,
    work: () => Promise<T>,
  ): Promise<T> {
    const watch = new StepWatch(parts);
    this.#watch = watch;
    watch.enter(this.#step);
    try {
      return await work();
    } finally {
      watch.end();
    }
  }

  /** @throws the signal's reason when the creation was broken off. */
  enter(step: CreationStep): void {
    this.signal.throwIfAborted();
    this.kernel.apply({ type: 'step', step });
    this.#step = step;
    this.#watch?.enter(step);
  }

  /** From here on the time counts for a part of the current step. */
  measureApart(part: PartStep): void {
    this.#watch?.enter(part);
  }
}

/** @throws the signal's reason when the creation was broken off meanwhile. */
export async function announceProgress(
  parts: Pick<LifecycleParts, 'agentId' | 'events'>,
  progress: CreationProgress,
  name: 'kernel_preparing' | 'kernel_pulling' | 'kernel_creating',
  reason = '',
): Promise<void> {
  progress.signal.throwIfAborted();
  const { id: kernelId, sessionId } = progress.kernel;
  progress.announced = true;
  await parts.events.publish(parts.agentId, { name, kernelId, sessionId, reason });
  progress.signal.throwIfAborted();
}
