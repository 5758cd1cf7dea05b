import type { RunnerEndpoints } from '../backends/backend.js';
import type { Clock } from '../core/clock.js';
import { isSpleniumError, messageOf, RuntimeError, TimeoutError } from '../core/errors.js';
import type { KernelId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Kernel } from '../kernels/kernel.js';
import type { KernelRunner, ModelRunner, RunnerApp, RunnerConnector } from '../kernels/lifecycle/parts.js';
import { healthCheckLimits, type Model } from '../kernels/models/definition.js';
import { modelServiceTimeoutMs, RunnerLink } from '../runner/link.js';

/** The links to the runners of one agent's kernels: the lifecycle opens and closes them, executions use them. */
export class RunnerLinks implements RunnerConnector, ModelRunner {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #links = new Map<KernelId, RunnerLink>();

  constructor(parts: { readonly logger: Logger; readonly clock: Clock }) {
    this.#logger = parts.logger;
    this.#clock = parts.clock;
  }

  connect(kernelId: KernelId, endpoints: RunnerEndpoints): KernelRunner {
    void this.#links.get(kernelId)?.close();
    const link = RunnerLink.connect({ kernelId, endpoints, logger: this.#logger, clock: this.#clock });
    this.#links.set(kernelId, link);
    return {
      waitReady: (options) => waitReady(link, this.#clock, options),
      close: () => link.close(),
    };
  }

  async disconnect(kernelId: KernelId): Promise<void> {
    const link = this.#links.get(kernelId);
    this.#links.delete(kernelId);
    await link?.close();
  }

  async startModel(
    kernelId: KernelId,
    model: Model,
    signal: AbortSignal,
  ): ReturnType<ModelRunner['startModel']> {
    const link = this.#links.get(kernelId);
    if (!link) return { status: 'failed', error: 'there is no link to the kernel runner' };
    const timeoutMs = modelServiceTimeoutMs(healthCheckLimits(model));
    // The runner knows entries of a model definition, which have a place for metadata.
    return link.startModelService({ ...model, metadata: null }, { timeoutMs, signal });
  }

  /** Undefined while there is no runner to talk to: the kernel is unknown, or its container is being replaced. */
  find(kernelId: KernelId): RunnerLink | undefined {
    return this.#links.get(kernelId);
  }

  /** The runner tells the user that a process was killed for lack of memory (spec/kernel-runner.md, `event`). */
  tellOom(kernelId: KernelId): void {
    this.find(kernelId)
      ?.notify('oom')
      .catch((error: unknown) => {
        this.#logger.warn('cannot tell the runner of a kernel that it is out of memory', {
          kernelId,
          error: messageOf(error),
        });
      });
  }

  /** @throws RuntimeError for a kernel that nobody can talk to now. */
  of({ id, state }: Pick<Kernel, 'id' | 'state'>): RunnerLink {
    const link = this.#links.get(id);
    if (link) return link;
    throw new RuntimeError(`kernel ${id} is ${state.name}: wait until it runs`, { retryable: true });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#links.keys()].map((kernelId) => this.disconnect(kernelId)));
  }
}

/**
 * One attempt is a status and the list of services; attempts go on until one succeeds or the time is up
 * (spec/kernel-runner.md 3.12).
 */
async function waitReady(
  link: RunnerLink,
  clock: Clock,
  options: Parameters<KernelRunner['waitReady']>[0],
): Promise<readonly RunnerApp[]> {
  const { attempts, attemptTimeoutMs, totalTimeoutMs, intervalMs, signal } = options;
  const deadline = clock.monotonicMs() + totalTimeoutMs;
  let failure = 'no answer';
  for (let attempt = 1; attempt <= attempts && clock.monotonicMs() < deadline; attempt += 1) {
    const timeoutMs = Math.min(attemptTimeoutMs, deadline - clock.monotonicMs());
    try {
      await link.waitReady({ timeoutMs, signal });
      const apps = await link.getApps('', { signal });
      if (apps.status === 'done') return apps.apps;
      signal.throwIfAborted();
      failure = apps.error ?? 'it could not list its services';
    } catch (error) {
      // An attempt that takes too long is final; so is a caller who gives up and a link that is closed.
      if (signal.aborted || isSpleniumError(error)) throw error;
      failure = messageOf(error);
    }
    await clock.sleep(intervalMs, signal);
  }
  throw new TimeoutError(`the kernel runner is not ready: ${failure}`);
}
