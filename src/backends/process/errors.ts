import { RuntimeError } from '../../core/errors.js';

/** The machine lacks something the process backend cannot do without. */
export class ProcessBackendUnavailableError extends RuntimeError {
  override readonly code = 'BACKEND_UNAVAILABLE';
}

/** A kernel's processes cannot be created or started. */
export class KernelProcessStartError extends RuntimeError {
  override readonly code = 'BACKEND_START_FAILED';
}

/** `create` for a kernel that this backend already has, alive or dead: remove it first. */
export class KernelProcessExistsError extends RuntimeError {
  override readonly code = 'BACKEND_KERNEL_EXISTS';
}

/** `start` of, or a file operation on, a kernel that was removed or never created here. */
export class KernelProcessMissingError extends RuntimeError {
  override readonly code = 'BACKEND_KERNEL_MISSING';
}

/** Processes of a kernel are still there after SIGKILL, usually blocked in the operating system. */
export class KernelProcessStopError extends RuntimeError {
  override readonly code = 'BACKEND_STOP_FAILED';
}
