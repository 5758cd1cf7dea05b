import { hasCode, isSpleniumError, SpleniumError } from '../core/errors.js';

/** No daemon serves from the state directory that was looked at. */
export class LocalDaemonNotFoundError extends SpleniumError {
  override readonly code = 'LOCAL_DAEMON_NOT_FOUND';
  override readonly pythonName = 'RuntimeError';
}

/** The other side answered with something that the method table does not promise. */
export class UnexpectedResultError extends SpleniumError {
  override readonly code = 'UNEXPECTED_RESULT';
  override readonly pythonName = 'ValueError';
}

/** The code reads input and nobody is there to give it. */
export class InputRequiredError extends SpleniumError {
  override readonly code = 'INPUT_REQUIRED';
  override readonly pythonName = 'EOFError';
}

/** What a server says while it closes or is full: the call was not run, or not to its end. */
const PASSING_REMOTE_ERRORS: ReadonlySet<string> = new Set(['PeerClosedError', 'LimitExceededError']);

/** May the same call succeed if it is simply made again? */
export function isPassing(error: unknown): boolean {
  if (hasCode(error, 'REMOTE_FAILURE'))
    return (
      typeof error === 'object' &&
      error !== null &&
      'remoteName' in error &&
      typeof error.remoteName === 'string' &&
      PASSING_REMOTE_ERRORS.has(error.remoteName)
    );
  return (
    hasCode(error, 'HANDSHAKE_FAILED') ||
    hasCode(error, 'TIMEOUT') ||
    (isSpleniumError(error) && error.retryable)
  );
}

/** Does the error tell that the connection itself may be broken? */
export function doubtsConnection(error: unknown): boolean {
  return hasCode(error, 'TIMEOUT') || hasCode(error, 'PEER_CLOSED');
}
