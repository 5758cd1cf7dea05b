import { RuntimeError, SpleniumError } from '../../core/errors.js';

/** The dummy backend is not open. */
export class DummyUnavailableError extends RuntimeError {
  override readonly code = 'BACKEND_UNAVAILABLE';
}

/** `create` for a kernel that has a container already. */
export class DummyKernelExistsError extends RuntimeError {
  override readonly code = 'BACKEND_KERNEL_EXISTS';
}

/** `start` of a kernel whose container is gone or has been replaced. */
export class DummyKernelMissingError extends RuntimeError {
  override readonly code = 'BACKEND_KERNEL_MISSING';
}

/** The container cannot be created or started as planned. */
export class DummyStartError extends RuntimeError {
  override readonly code = 'BACKEND_START_FAILED';
}

/** A failure that `[splenium.failure]` of `agent.dummy.toml` has ordered. */
export class DummyFailureError extends RuntimeError {
  override readonly code = 'BACKEND_DUMMY_FAILURE';
}

/** An image that `agent.image.missing` names, or that was removed. */
export class DummyImageMissingError extends SpleniumError {
  override readonly code = 'IMAGE_NOT_AVAILABLE';
  override readonly pythonName = 'ImageNotAvailable';
}

/** An image that a kernel is made of; its removal can be forced. */
export class DummyImageInUseError extends RuntimeError {
  override readonly code = 'IMAGE_IN_USE';
}
