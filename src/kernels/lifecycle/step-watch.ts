import type { CreationStep } from '../kernel-state.js';
import type { LifecycleParts } from './parts.js';

/** Parts of a step of the kernel that are measured apart. */
export type PartStep = 'announcing-start';

export type EndingStep =
  | 'noting-end'
  | 'closing-link'
  | 'stopping'
  | 'collecting-logs'
  | 'removing-container'
  | 'giving-back'
  | 'announcing-end';

/** From a millisecond to the longest pull. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600];

/** Measures the steps of one creation, restart or end, one after another. */
export class StepWatch {
  readonly #begin: (step: string) => void;
  readonly #observe: (step: string, seconds: number) => void;
  readonly #monotonicMs: () => number;
  #step: CreationStep | PartStep | EndingStep | null = null;
  #sinceMs = 0;

  constructor({ agentId, metrics, clock }: Pick<LifecycleParts, 'agentId' | 'metrics' | 'clock'>) {
    const histogram = metrics.histogram({
      name: 'splenium_kernel_step_seconds',
      help: 'Time of each step of creating, restarting and ending a kernel, also of a step that failed.',
      labels: ['agent', 'step'],
      buckets: BUCKETS,
    });
    const stages = metrics.counter({
      name: 'backendai_stage_count_total',
      help: 'Steps of creating, restarting and ending kernels that were begun.',
      labels: ['stage', 'upper_layer'],
    });
    this.#begin = (stage) => {
      stages.increment({ stage, upper_layer: 'kernel_lifecycle' });
    };
    this.#observe = (step, seconds) => {
      histogram.observe(seconds, { agent: agentId, step });
    };
    this.#monotonicMs = () => clock.monotonicMs();
  }

  /** The step before it has ended. */
  enter(step: CreationStep | PartStep | EndingStep): void {
    const nowMs = this.#monotonicMs();
    if (this.#step !== null) this.#observe(this.#step, (nowMs - this.#sinceMs) / 1000);
    this.#begin(step);
    this.#step = step;
    this.#sinceMs = nowMs;
  }

  /** The last step has ended. Idempotent. */
  end(): void {
    if (this.#step !== null) this.#observe(this.#step, (this.#monotonicMs() - this.#sinceMs) / 1000);
    this.#step = null;
  }
}
