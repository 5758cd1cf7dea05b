import { CancelledError, RuntimeError } from '../core/errors.js';
import type { AgentId, KernelId } from '../core/ids.js';
import type { EventSink } from '../events/catalogue.js';
import type { Kernel } from '../kernels/kernel.js';
import type { KernelLifecycle } from '../kernels/kernel-lifecycle.js';
import type { KernelRegistry } from '../kernels/kernel-registry.js';
import type { ExecutionRequest, ExecutionResult } from '../runner/execution.js';
import type { RunnerLinks } from './runner-links.js';

interface ExecutionParts {
  readonly agentId: AgentId;
  readonly registry: KernelRegistry;
  readonly lifecycle: KernelLifecycle;
  readonly links: RunnerLinks;
  readonly events: EventSink;
}

/** Runs code in kernels and tells about it (spec/kernel-runner.md 3.3). */
export class Execution {
  readonly #parts: ExecutionParts;

  constructor(parts: ExecutionParts) {
    this.#parts = parts;
  }

  /**
   * Waits for a restart that is under way, then starts or goes on with the run.
   * @throws RuntimeError for a kernel that is not here, or that ends before the result is there.
   */
  async execute(
    kernelId: KernelId,
    request: Omit<ExecutionRequest, 'signal'>,
    signal: AbortSignal,
  ): Promise<ExecutionResult> {
    const { agentId, registry, links, events } = this.#parts;
    const kernel = registry.find(kernelId);
    if (!kernel) throw notFound(kernelId);
    await restartIsOver(kernel, signal);
    const { sessionId } = kernel;
    await events.publish(agentId, { name: 'execution_started', sessionId });
    // A restart, or the kernel's end, may have begun while the event was written.
    await restartIsOver(kernel, signal);
    const link = links.find(kernelId);
    if (!link) throw notFound(kernelId);
    const result = await link.execute({ ...request, signal });
    if (result.status === 'finished')
      await events.publish(agentId, { name: 'execution_finished', sessionId });
    if (result.status === 'exec-timeout') await this.#timedOut(kernel);
    return result;
  }

  /** @throws KeyError for a kernel that is not here, RuntimeError for one that nobody can talk to now. */
  async interrupt(kernelId: KernelId): Promise<void> {
    const { registry, links } = this.#parts;
    await links.of(registry.get(kernelId)).interrupt();
  }

  /** Null when the kernel has no answer. @throws as `interrupt`. */
  async complete(
    kernelId: KernelId,
    text: string,
    options: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<readonly unknown[] | null> {
    const { registry, links } = this.#parts;
    const link = links.of(registry.get(kernelId));
    const { status, suggestions } = await link.complete(text, options, { signal });
    return status === 'finished' ? suggestions : null;
  }

  /** When the runner began; null when it does not answer. @throws KeyError for a kernel that is not here. */
  async ping(kernelId: KernelId, signal: AbortSignal): Promise<{ readonly startedAtSec: number } | null> {
    const { registry, links } = this.#parts;
    registry.get(kernelId);
    const status = await links.find(kernelId)?.status({ signal });
    return status ? { startedAtSec: status.startedAt } : null;
  }

  async #timedOut(kernel: Kernel): Promise<void> {
    const { agentId, lifecycle, events } = this.#parts;
    const { id: kernelId, sessionId } = kernel;
    await events.publish(agentId, { name: 'execution_timeout', sessionId });
    // Its end is announced by an event; the caller gets the result now.
    lifecycle
      .destroy({ kernelId, sessionId, reason: 'exec-timeout', suppressEvents: false })
      .catch(() => undefined);
  }
}

/** The message of the original; managers show it to users. */
export const notFound = (kernelId: KernelId): RuntimeError =>
  new RuntimeError(`The container for kernel ${kernelId} is not found! (might be terminated--try it again)`);

/** @throws RuntimeError when the kernel ends instead, CancelledError. */
async function restartIsOver(kernel: Kernel, signal: AbortSignal): Promise<void> {
  // Again, because the next change may come before the one who waited goes on.
  do await nextOutcome(kernel, signal);
  while (kernel.state.name !== 'running');
}

function nextOutcome(kernel: Kernel, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let forget = () => undefined as void;
    const end = (settle: () => void) => {
      forget();
      signal.removeEventListener('abort', onAbort);
      settle();
    };
    const onAbort = () => {
      end(() => {
        reject(new CancelledError(`execution in kernel ${kernel.id} cancelled`));
      });
    };
    const look = () => {
      switch (kernel.state.name) {
        case 'preparing':
        case 'restarting':
          return;
        case 'running':
          end(resolve);
          return;
        case 'terminating':
        case 'terminated':
          end(() => {
            reject(notFound(kernel.id));
          });
      }
    };
    forget = kernel.observe(look);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    else look();
  });
}
