import { PermissionError, RuntimeError, SpleniumError } from '../../core/errors.js';

/** The engine does not answer, or something on this machine that containers need is missing. */
export class DockerUnavailableError extends RuntimeError {
  override readonly code = 'BACKEND_UNAVAILABLE';
}

/** The engine has answered with an error; `details.status` is its HTTP status. */
export class EngineError extends RuntimeError {
  override readonly code = 'BACKEND_ENGINE_FAILED';
}

/** `create` for a kernel that has a container already, alive or dead, whoever owns it. */
export class KernelContainerExistsError extends RuntimeError {
  override readonly code = 'BACKEND_KERNEL_EXISTS';
}

/** `start` of, or a file operation on, a kernel whose container is gone or has been replaced. */
export class KernelContainerMissingError extends RuntimeError {
  override readonly code = 'BACKEND_KERNEL_MISSING';
}

/** The container cannot be created or started as planned. */
export class ContainerStartError extends RuntimeError {
  override readonly code = 'BACKEND_START_FAILED';
}

/** The engine has published other ports than those that were reserved. */
export class PortMismatchError extends RuntimeError {
  override readonly code = 'BACKEND_PORT_MISMATCH';
}

/** The container still runs long after it was killed: the engine or the operating system is stuck. */
export class ContainerStopError extends RuntimeError {
  override readonly code = 'BACKEND_STOP_FAILED';
}

/** A folder outside of those that the operator allows kernels to see. */
export class MountRefusedError extends PermissionError {}

/** The image is not on this machine. */
export class ImageMissingError extends SpleniumError {
  override readonly code = 'IMAGE_NOT_AVAILABLE';
  override readonly pythonName = 'ImageNotAvailable';
}

/** The registry refused, the stream broke off, or its last words were an error. */
export class ImagePullError extends RuntimeError {
  override readonly code = 'IMAGE_PULL_FAILED';
}

/** The registry did not take all of the image. */
export class ImagePushError extends RuntimeError {
  override readonly code = 'IMAGE_PUSH_FAILED';
}

/** The runner volume is incomplete, changed, or cannot be built from what this machine has. */
export class RunnerVolumeError extends RuntimeError {
  override readonly code = 'RUNNER_VOLUME';
}

/** The original's runner, which the configuration asks for, is incomplete on this machine. */
export class RunnerPackageError extends RuntimeError {
  override readonly code = 'RUNNER_PACKAGE';
}
