import { SpleniumError } from '../core/errors.js';

/** What a manager knows as the plain `AgentError` (spec/rpc-functions.md appendix B); `code` tells them apart. */
abstract class KernelError extends SpleniumError {
  override readonly pythonName: string = 'AgentError';
}

/** The container could not be made or started, or something that it needs could not be prepared. */
export class KernelCreationError extends KernelError {
  override readonly code: string = 'KERNEL_CREATION_FAILED';
}

/** The file system of a scratch directory cannot be mounted or unmounted. */
export class ScratchMountError extends KernelCreationError {
  override readonly code = 'SCRATCH_MOUNT_FAILED';
}

/** A destroy request, the kernel's own end or the agent's stop came before the creation was through. */
export class KernelCreationCancelledError extends KernelError {
  override readonly code = 'KERNEL_CREATION_CANCELLED';
}

/** The container runs, but the runner inside did not answer as it should. */
export class KernelStartupError extends KernelError {
  override readonly code = 'KERNEL_STARTUP_FAILED';
}

/** The image is built for another machine. */
export class ImageArchitectureMismatchError extends KernelError {
  override readonly code = 'IMAGE_ARCHITECTURE_MISMATCH';
}

/** Pulling took longer than `api.pull-timeout`. */
export class ImagePullTimeoutError extends KernelError {
  override readonly code = 'IMAGE_PULL_TIMEOUT';
}

/** The image is absent and the pull policy forbids fetching it. */
export class ImageNotAvailableError extends SpleniumError {
  override readonly code = 'IMAGE_NOT_AVAILABLE';
  override readonly pythonName = 'ImageNotAvailable';
}

/** An inference session without a folder that holds its model. */
export class ModelFolderMissingError extends KernelError {
  override readonly code = 'MODEL_FOLDER_MISSING';
}

/** An inference session whose model nobody describes: no file in its folder, or nothing in the request. */
export class ModelDefinitionMissingError extends KernelError {
  override readonly code = 'MODEL_DEFINITION_MISSING';
}

/** A model definition that cannot be read, or that says what cannot be. */
export class ModelDefinitionInvalidError extends KernelError {
  override readonly code = 'MODEL_DEFINITION_INVALID';
}

/** Two services want one container port, or one wants a port of the runner. */
export class ServicePortError extends KernelError {
  override readonly code = 'SERVICE_PORT_INVALID';
}

/**
 * Something of the kernel could not be ended or removed. It keeps its resources and is tried again in the
 * background and by every further destroy request.
 */
export class KernelCleanupError extends KernelError {
  override readonly code = 'KERNEL_CLEANUP_FAILED';
}

/** Two agents of one process have, or one is about to make, a kernel with an id that the other has. */
export class DuplicateKernelIdError extends KernelError {
  override readonly code = 'KERNEL_ID_DUPLICATE';
}

/** Several kernels of one call failed; their errors are in `errors`, in the order of the request. */
export class TaskGroupError extends SpleniumError {
  override readonly code = 'TASK_GROUP';
  override readonly pythonName = 'TaskGroupError';
  readonly errors: readonly unknown[];

  constructor(message: string, errors: readonly unknown[]) {
    super(message, { cause: errors[0] });
    this.errors = errors;
  }
}

/**
 * What all of several pieces of work have brought.
 * @throws the error of the one that failed, or TaskGroupError when several did.
 */
export function valuesOf<T>(outcomes: readonly PromiseSettledResult<T>[], message: string): readonly T[] {
  const errors = outcomes.flatMap((outcome) =>
    outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
  );
  if (errors.length > 1) throw new TaskGroupError(message, errors);
  if (errors.length === 1) throw errors[0];
  return outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
}
