import type { Kernel } from '../kernel.js';
import type { CreationStep } from '../kernel-state.js';
import type { LifecycleParts } from './parts.js';
import type { PartStep, StepWatch } from './step-watch.js';

/** How far one creation or restart has come; remembers the step after the kernel's state has moved on to its end. */
export class CreationProgress {
  readonly kernel: Kernel;
  /** Aborts with the reason for which the creation is broken off. */
  readonly signal: AbortSignal;
  /** The manager may have heard of the kernel: from here on its end is announced. */
  announced = false;
  #step: CreationStep = 'accepted';
  #watch: StepWatch | null = null;

  constructor(kernel: Kernel, signal: AbortSignal) {
    this.kernel = kernel;
    this.signal = signal;
  }

  get step(): CreationStep {
    return this.#step;
  }

  /** Measures every step from here on, beginning with the current one, until the watch ends. */
  measure(watch: StepWatch): void {
    this.#watch = watch;
    watch.enter(this.#step);
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
