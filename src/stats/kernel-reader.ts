import type { UsageSource } from '../backends/backend.js';
import { within } from '../core/async.js';
import type { Clock } from '../core/clock.js';
import type { KernelId } from '../core/ids.js';
import type { KernelUsage, KernelUsageReader } from './kernel-usage.js';

/** What kernels use, as one pass has found it; those that could not be read are left out. */
export interface KernelReading {
  /** When it was complete, monotonic. */
  readonly atMs: number;
  readonly usages: ReadonlyMap<KernelId, KernelUsage>;
}

/** Where to look for what the kernels use that run now; those of which nobody knows are left out. */
export type SourcesOfKernels = () => Promise<ReadonlyMap<KernelId, UsageSource>>;

interface KernelReaderParts {
  /** Of all agents. */
  readonly sources: SourcesOfKernels;
  readonly usage: KernelUsageReader;
  readonly sourcesTimeoutMs: number;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}

/** Looks at the kernels of all agents in one pass. */
export class KernelReader {
  readonly #parts: KernelReaderParts;
  /** The look for sources that has not come to an end. */
  #looking: Promise<ReadonlyMap<KernelId, UsageSource>> | null = null;

  constructor(parts: KernelReaderParts) {
    this.#parts = parts;
  }

  /** @throws TimeoutError, and the backend's error, when nobody tells where to look. */
  async read(): Promise<KernelReading> {
    const { usage, clock, sourcesTimeoutMs: timeoutMs } = this.#parts;
    const what = 'where to read what kernels use';
    const usages = await usage.read(await within(this.#look(), { timeoutMs, what }));
    return { atMs: clock.monotonicMs(), usages };
  }

  /** One that hangs is waited for again, and not begun anew beside it. */
  #look(): Promise<ReadonlyMap<KernelId, UsageSource>> {
    if (this.#looking) return this.#looking;
    const looking = this.#parts.sources();
    this.#looking = looking;
    const done = (): void => {
      this.#looking = null;
    };
    looking.then(done, done);
    return looking;
  }
}
