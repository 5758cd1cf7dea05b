import { DummyFailureError } from './errors.js';

export type DummyDelay =
  | 'scan-image'
  | 'pull-image'
  | 'push-image'
  | 'purge-images'
  | 'destroy-kernel'
  | 'clean-kernel'
  | 'create-network'
  | 'destroy-network'
  | 'prepare-scratch'
  | 'prepare-ssh'
  | 'mount-krunner'
  | 'spawn'
  | 'start-container'
  | 'commit'
  | 'check-status'
  | 'get-completions'
  | 'get-logs'
  | 'interrupt-kernel'
  | 'start-service'
  | 'start-model-service'
  | 'shutdown-service'
  | 'get-service-apps'
  | 'accept-file'
  | 'download-file'
  | 'download-single'
  | 'list-files'
  | 'execute';

export type DummyStep =
  'create' | 'start' | 'runner' | 'execute' | 'stop' | 'remove' | 'pull' | 'push' | 'commit';

/** `agent.dummy.toml` as the backend takes it (spec/kernel-lifecycle.md 8). */
export interface DummySettings {
  readonly delaysMs: Readonly<Record<DummyDelay, number>>;
  readonly images: {
    readonly present: readonly string[];
    readonly pullable: readonly string[];
    readonly missing: readonly string[];
  };
  /** False: endpoints of a runner that somebody else runs. */
  readonly usesFakeRunner: boolean;
  /** How often a step fails: by chance, or in these of its calls, counted from 1. */
  readonly failures: Readonly<Record<DummyStep, number | readonly number[]>>;
}

/** Decides which call of a step fails. */
export class FailurePlan {
  readonly #failures: DummySettings['failures'];
  readonly #random: () => number;
  readonly #calls = new Map<DummyStep, number>();

  /** `random`: from 0 to 1, 1 excluded. */
  constructor(failures: DummySettings['failures'], random: () => number) {
    this.#failures = failures;
    this.#random = random;
  }

  /** Counts one call of the step. @returns whether it fails. */
  strikes(step: DummyStep): boolean {
    const call = (this.#calls.get(step) ?? 0) + 1;
    this.#calls.set(step, call);
    const failure = this.#failures[step];
    return typeof failure === 'number' ? this.#random() < failure : failure.includes(call);
  }

  /** @throws DummyFailureError when this call of the step fails. */
  check(step: DummyStep, what: string): void {
    if (this.strikes(step))
      throw new DummyFailureError(`${what}: ${step} fails because agent.dummy.toml says so`, {
        retryable: true,
      });
  }
}
