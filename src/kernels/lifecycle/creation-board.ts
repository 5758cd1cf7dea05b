import { within } from '../../core/async.js';
import { isSpleniumError } from '../../core/errors.js';
import type { KernelId } from '../../core/ids.js';
import type { KeyedQueue } from '../../core/keyed-queue.js';
import type { Counter } from '../../core/metrics.js';
import { KernelCreationCancelledError, valuesOf } from '../errors.js';
import { Kernel } from '../kernel.js';
import type { KernelCreationRequest, KernelCreationResult } from '../requests.js';
import type { BackgroundWork } from './background-work.js';
import { createKernel } from './create.js';
import { Creation } from './creation.js';
import type { KernelEndings } from './endings.js';
import { creationFailure, failureReason, interruptionError } from './failures.js';
import type { KernelsInTheMaking } from './in-the-making.js';
import type { LifecycleParts } from './parts.js';
import type { ModelServices } from './serve-models.js';
import { TIME_LIMITS } from './time-limits.js';

interface CreationBoardParts {
  readonly parts: LifecycleParts;
  readonly queue: KeyedQueue<KernelId>;
  readonly making: KernelsInTheMaking;
  readonly endings: KernelEndings;
  readonly models: ModelServices;
  readonly background: BackgroundWork;
}

/**
 * The creations of one agent's kernels, from the request until they are through: those that have begun and those that
 * wait for their turn. At most one for a kernel id.
 */
export class CreationBoard {
  readonly #board: CreationBoardParts;
  readonly #creations = new Map<KernelId, Creation>();
  /** Kernels destroyed while being created -> when; see `#refuseRepeats`. */
  readonly #destroyed = new Map<KernelId, number>();
  readonly #outcomes: Counter;

  constructor(board: CreationBoardParts) {
    this.#board = board;
    this.#outcomes = board.parts.metrics.counter({
      name: 'splenium_kernel_creations_total',
      help: 'Kernel creations by outcome.',
      labels: ['agent', 'outcome'],
    });
  }

  /** See `KernelLifecycle.create`. */
  async create(
    requests: readonly KernelCreationRequest[],
    signal: AbortSignal,
  ): Promise<readonly KernelCreationResult[]> {
    const { parts, background } = this.#board;
    // Entered at once, so that a destroy request finds also those that have to wait for their turn (9.1 C3).
    const entered: Creation[] = [];
    const waits = requests.map((request) => this.#admit(request, signal, entered));
    const turns = entered.values();
    for (let place = 0; place < Math.max(1, parts.settings.creationConcurrency); place += 1)
      // Not awaited: a caller that leaves must not wait for creations that others have joined.
      background.begin('a creation broke the order of its steps', async () => {
        for (const creation of turns) await this.#run(creation);
      });
    return valuesOf(await Promise.allSettled(waits), 'agent.create_kernels() failed');
  }

  /** A creation of this kernel is under way or waits. */
  has(kernelId: KernelId): boolean {
    return this.#creations.has(kernelId);
  }

  /** Also true for a kernel that exists already, whatever its state (spec/rpc-functions.md 3.6). */
  isCreating(kernelId: KernelId): boolean {
    return this.#creations.has(kernelId) || this.#board.parts.registry.has(kernelId);
  }

  get kernels(): readonly Kernel[] {
    return [...this.#creations.values()].map(({ kernel }) => kernel);
  }

  /**
   * For a destroy request: a creation that waits for its turn never begins, and repeats of one that has begun are
   * refused for a while; breaking it off is up to the caller. True: it waited, so nothing exists of this creation.
   */
  withdraw(kernelId: KernelId): boolean {
    const creation = this.#creations.get(kernelId);
    if (!creation) return false;
    this.#refuseRepeats(kernelId);
    if (creation.hasBegun) return false;
    // Whatever else is registered under its id is ended by who withdraws this, and speaks for it too.
    this.#leave(creation);
    creation.progress.breakOff(interruptionError({ kind: 'destroyed' }));
    creation.fail(creationFailure(creation.progress, null));
    return true;
  }

  /** The agent stops. */
  breakOffAll(): void {
    const { making } = this.#board;
    for (const { kernel } of this.#creations.values()) making.breakOff(kernel, { kind: 'closed' });
  }

  /** Joins the creation of this kernel, answers what it has made, or enters a new one, which goes to `entered`. */
  #admit(
    request: KernelCreationRequest,
    signal: AbortSignal,
    entered: Creation[],
  ): Promise<KernelCreationResult> {
    const { parts, making } = this.#board;
    const { kernelId } = request;
    const underWay = this.#creations.get(kernelId);
    if (underWay && !underWay.progress.isBrokenOff) return underWay.wait(signal);
    const kernel = parts.registry.find(kernelId);
    if (kernel && !kernel.termination) {
      if (kernel.state.name === 'running' && kernel.result) return Promise.resolve(kernel.result);
      if (kernel.state.name === 'restarting') return this.#resultAfterRestart(kernel, signal);
    }
    if (this.#refusesRepeats(kernelId))
      return Promise.reject(
        new KernelCreationCancelledError(
          `kernel ${kernelId} was destroyed while it was being created; this repeat of its creation is refused`,
        ),
      );
    const creation = new Creation(Kernel.requested(parts.agentId, request, parts.clock.nowMs()));
    this.#creations.set(kernelId, creation);
    making.enter(creation.progress);
    entered.push(creation);
    return creation.wait(signal);
  }

  async #resultAfterRestart(kernel: Kernel, signal: AbortSignal): Promise<KernelCreationResult> {
    await within(this.#board.queue.passed(kernel.id), {
      signal,
      what: `waiting for the restart of kernel ${kernel.id}`,
    });
    if (kernel.state.name === 'running' && kernel.result) return kernel.result;
    throw new KernelCreationCancelledError(`kernel ${kernel.id} ended while it was being restarted`);
  }

  /** Never rejects: the outcome goes to those who wait for the creation. */
  #run(creation: Creation): Promise<void> {
    const { parts, queue, models } = this.#board;
    const { kernel, progress } = creation;
    return queue.run(kernel.id, async () => {
      try {
        // Broken off before its turn: nothing exists of it, and whoever did it has said so.
        if (progress.isBrokenOff) throw creationFailure(progress, null);
        creation.hasBegun = true;
        parts.registry.add(kernel);
        const result = await this.#make(creation);
        this.#leave(creation);
        creation.succeed(result);
        models.start(kernel);
      } catch (error) {
        this.#leave(creation);
        creation.fail(error);
      }
    });
  }

  /** @throws what the callers are told, once all that there was of the kernel is gone. */
  async #make({ progress }: Creation): Promise<KernelCreationResult> {
    const { parts, endings } = this.#board;
    try {
      const result = await progress.measured(parts, () => createKernel(parts, progress));
      this.#count('created');
      return result;
    } catch (error) {
      const reason = failureReason(progress.step);
      const failure = await endings.endFailed(progress, { message: 'kernel creation failed', reason, error });
      this.#count(isSpleniumError(failure, 'CANCELLED') ? 'cancelled' : 'failed');
      throw failure;
    }
  }

  #leave(creation: Creation): void {
    const { id } = creation.kernel;
    if (this.#creations.get(id) === creation) this.#creations.delete(id);
    this.#board.making.leave(creation.progress);
  }

  #count(outcome: 'created' | 'failed' | 'cancelled'): void {
    this.#outcomes.increment({ agent: this.#board.parts.agentId, outcome });
  }

  /**
   * The 25.17 manager sends any failing call again, also the creation that its own destroy request has just broken
   * off (spec/rpc-functions.md 1.7). Such a repeat would make a kernel that nobody wants any more.
   */
  #refuseRepeats(kernelId: KernelId): void {
    const now = this.#board.parts.clock.monotonicMs();
    for (const [id, since] of this.#destroyed)
      if (now - since > TIME_LIMITS.repeatRefusalMs) this.#destroyed.delete(id);
    this.#destroyed.set(kernelId, now);
  }

  #refusesRepeats(kernelId: KernelId): boolean {
    const since = this.#destroyed.get(kernelId);
    return (
      since !== undefined && this.#board.parts.clock.monotonicMs() - since <= TIME_LIMITS.repeatRefusalMs
    );
  }
}
