import type { Kernel } from '../kernel.js';
import { type Interruption, interruptionError } from './failures.js';
import type { CreationProgress } from './progress.js';

/** The creations and restarts of one agent that are under way, each to be broken off by whoever ends its kernel. */
export class KernelsInTheMaking {
  readonly #underWay = new Map<Kernel, CreationProgress>();

  enter(progress: CreationProgress): void {
    this.#underWay.set(progress.kernel, progress);
  }

  leave(progress: CreationProgress): void {
    if (this.#underWay.get(progress.kernel) === progress) this.#underWay.delete(progress.kernel);
  }

  /** Nothing happens when nothing is being made of the kernel. */
  breakOff(kernel: Kernel, interruption: Interruption): void {
    this.#underWay.get(kernel)?.breakOff(interruptionError(interruption));
  }
}
