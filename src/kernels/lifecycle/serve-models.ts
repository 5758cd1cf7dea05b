import { messageOf } from '../../core/errors.js';
import type { Kernel } from '../kernel.js';
import type { Model } from '../models/definition.js';
import type { KernelEndings } from './endings.js';
import type { LifecycleParts } from './parts.js';
import { MAIN_ROLES } from './service-ports.js';

interface ModelServicesParts {
  readonly parts: LifecycleParts;
  readonly endings: KernelEndings;
  /** Aborts when the agent stops: then nothing is waited for any more. */
  readonly closing: AbortSignal;
}

/**
 * Has the models of inference sessions started once their kernels run, in the background
 * (spec/kernel-lifecycle.md 2.19). A model that does not start is never passed over in silence: to a 25.17 manager the
 * session is told to be unhealthy, with 26.x the kernel is ended. What the runner reports of a model's health later is
 * the manager's own business.
 */
export class ModelServices {
  readonly #options: ModelServicesParts;
  readonly #tasks = new Set<Promise<void>>();

  constructor(options: ModelServicesParts) {
    this.#options = options;
  }

  /** For a kernel that has just started, once more after a restart. Returns at once; other kernels are passed over. */
  start(kernel: Kernel): void {
    const { parts } = this.#options;
    const { models: runner } = parts;
    if (kernel.models.length === 0 || !runner || !MAIN_ROLES.has(kernel.request.config.clusterRole)) return;
    const task = this.#serve(kernel, runner)
      .catch((error: unknown) => {
        parts.logger.error('cannot deal with the models of a kernel', {
          kernelId: kernel.id,
          error: messageOf(error),
        });
      })
      .finally(() => {
        this.#tasks.delete(task);
      });
    this.#tasks.add(task);
  }

  /** After a recovery: the runner is asked again where an earlier run of the daemon has not heard its word. */
  resume(): void {
    for (const kernel of this.#options.parts.registry)
      if (kernel.state.name === 'running' && !kernel.facts.modelsAnswered) this.start(kernel);
  }

  /** Resolves when nothing is waited for; the agent must be closing. */
  async close(): Promise<void> {
    await Promise.all(this.#tasks);
  }

  async #serve(kernel: Kernel, runner: NonNullable<LifecycleParts['models']>): Promise<void> {
    const { parts, closing, endings } = this.#options;
    const { handle } = kernel;
    const logger = parts.logger.child({ kernelId: kernel.id });
    const startable = kernel.models.filter(({ name, service }) => {
      if (service?.start_command) return true;
      logger.warn('a model has nothing to start', { model: name, image: kernel.image });
      return false;
    });
    const outcomes = await Promise.all(
      startable.map(async (model) => ({ model, ...(await runner.startModel(kernel.id, model, closing)) })),
    );
    // What became of the kernel meanwhile says more than a runner that was not asked to the end.
    const isOver = () => closing.aborted || kernel.state.name !== 'running' || kernel.handle !== handle;
    if (isOver()) return;
    const failed = outcomes.filter(({ status }) => status === 'failed');
    for (const { model, error } of failed)
      logger.error('a model service did not start', { model: model.name, error: error ?? 'unknown' });
    if (failed.length > 0 && parts.settings.managerVersion === '26.9') {
      endings.begin(kernel, { reason: 'failed-to-start' }, 'cannot end a kernel without its model');
      return;
    }
    for (const { model } of failed) await this.#announce(kernel, model);
    if (isOver()) return;
    kernel.learn({ modelsAnswered: true });
    await parts.journal.record(kernel);
  }

  /** Under a name of its own: what was announced before a crash is not announced again. */
  async #announce(kernel: Kernel, { name }: Model): Promise<void> {
    const { agentId, events } = this.#options.parts;
    await events.publish(
      agentId,
      { name: 'model_service_status_updated', sessionId: kernel.sessionId, status: 'unhealthy' },
      `model_service:${kernel.id}:${String(kernel.startedAtMs)}:${name}`,
    );
  }
}
