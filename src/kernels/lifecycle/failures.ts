import { isSpleniumError, messageOf, RuntimeError } from '../../core/errors.js';
import { KernelCreationCancelledError, KernelCreationError, KernelStartupError } from '../errors.js';
import type { CreationStep } from '../kernel-state.js';
import type { LifecycleParts } from './parts.js';
import type { CreationProgress } from './progress.js';

/** Why a creation or restart is broken off from outside; becomes the reason of its abort signal. */
export type Interruption =
  | { readonly kind: 'destroyed' }
  | { readonly kind: 'exited'; readonly detail: string }
  | { readonly kind: 'closed' };

export function interruptionError(interruption: Interruption): KernelCreationCancelledError {
  switch (interruption.kind) {
    case 'destroyed':
      return new KernelCreationCancelledError('the kernel was destroyed while it was being created');
    case 'exited':
      return new KernelCreationCancelledError(`the container exited: ${interruption.detail}`);
    case 'closed':
      return new KernelCreationCancelledError('the agent is shutting down');
  }
}

/** @throws RuntimeError once the agent stops. */
export function refuseWhenClosing({ agentId }: Pick<LifecycleParts, 'agentId'>, closing: AbortSignal): void {
  if (closing.aborted) throw new RuntimeError(`agent ${agentId} is shutting down and takes no new kernels`);
}

/** The reason in `kernel_terminated` for a creation that failed at this step (spec/kernel-lifecycle.md 2.16, 2.17). */
export function failureReason(step: CreationStep): 'failed-to-start' | 'failed-to-create' {
  return step === 'waiting-for-runner' ? 'failed-to-start' : 'failed-to-create';
}

/**
 * What the caller is told, in the words of spec/rpc-functions.md 3.7.1. Errors that a manager knows by name, such as
 * those of resources and images, pass as they are; so does the caller's own cancellation. Why a creation was broken
 * off says more than what failed in it after that.
 */
export function creationFailure({ kernel, step, signal }: CreationProgress, failure: unknown): unknown {
  const error: unknown = signal.aborted ? signal.reason : failure;
  if (isSpleniumError(error, 'CANCELLED')) return error;
  const container = `k:${kernel.id}, container:${kernel.containerId ?? 'none'}`;
  const options = { cause: error, details: { kernelId: kernel.id, step } };
  switch (step) {
    case 'waiting-for-runner':
      if (isSpleniumError(error, 'TIMEOUT'))
        return new KernelStartupError(`Timeout during container startup (${container})`, options);
      if (isSpleniumError(error, 'KERNEL_CREATION_CANCELLED'))
        return new KernelStartupError(
          `Cancelled waiting of container startup (${container}, detail:${messageOf(error)})`,
          options,
        );
      return new KernelStartupError(
        `Container startup failed, the kernel runner did not answer (${container}, detail:${messageOf(error)})`,
        options,
      );
    case 'accepted':
    case 'pulling-image':
    case 'allocating':
    case 'waiting-for-turn':
    case 'preparing-scratch':
      if (isSpleniumError(error)) return error;
      break;
    default:
  }
  return new KernelCreationError(
    `Kernel failed to create container (k:${kernel.id}, detail:${messageOf(error)})`,
    options,
  );
}
