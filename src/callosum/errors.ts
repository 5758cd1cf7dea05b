import { pythonString, SpleniumError } from '../core/errors.js';
import type { SpleniumErrorOptions } from '../core/errors.js';

/** The three texts of a FAILURE or ERROR message (spec/wire-protocol.md 2.2). */
export interface ErrorDescription {
  /** Class name without module, for example `ValueError`. */
  readonly name: string;
  /** What Python's `repr()` prints for the exception. */
  readonly repr: string;
  /** Multi-line text in the form of a Python traceback. */
  readonly traceback: string;
}

/** What the other side said about a failed call. */
abstract class RemoteError extends SpleniumError {
  readonly remoteName: string;
  readonly remoteRepr: string;
  readonly remoteTraceback: string;

  constructor(message: string, description: ErrorDescription, options: SpleniumErrorOptions = {}) {
    super(message, { ...options, details: { ...options.details, remoteName: description.name } });
    this.remoteName = description.name;
    this.remoteRepr = description.repr;
    this.remoteTraceback = description.traceback;
  }

  override get pythonRepr(): string {
    const fields = [this.remoteName, this.remoteRepr, this.remoteTraceback].map(pythonString).join(', ');
    return `${this.pythonName}(${fields})`;
  }
}

/** The callee's handler raised: a FAILURE reply. */
export class RemoteUserError extends RemoteError {
  override readonly code = 'REMOTE_FAILURE';
  override readonly pythonName = 'RPCUserError';

  constructor(method: string, description: ErrorDescription) {
    super(`${method}: ${description.repr}`, description, { details: { method } });
  }
}

/** The callee could not run the handler at all: an ERROR reply. */
export class RemoteInternalError extends RemoteError {
  override readonly code = 'REMOTE_ERROR';
  override readonly pythonName = 'RPCInternalError';

  constructor(method: string, description: ErrorDescription) {
    super(`${method}: ${description.repr}`, description, { details: { method } });
  }
}

/** Nobody answered the opening PING in time: wrong address, wrong key, or a peer that is not a Callosum peer. */
export class HandshakeError extends SpleniumError {
  override readonly code = 'HANDSHAKE_FAILED';
  override readonly pythonName = 'AuthenticationError';
}

/** This peer is closing or closed; no new call is taken. */
export class PeerClosedError extends SpleniumError {
  override readonly code = 'PEER_CLOSED';
  override readonly pythonName = 'PeerClosedError';
}

/**
 * A handler throws this to say that it has no such method. It is answered with ERROR, not FAILURE, since the call
 * never reached user code (spec/wire-protocol.md 6.1).
 */
export class UnknownMethodError extends SpleniumError {
  static readonly CODE = 'METHOD_NOT_FOUND';
  override readonly code = UnknownMethodError.CODE;
  override readonly pythonName = 'KeyError';

  constructor(method: string) {
    super(method, { details: { method } });
  }
}

/** A CURVE key or a key file that cannot be used. The message names the file, never the key. */
export class KeyFileError extends SpleniumError {
  override readonly code: string = 'KEY_FILE_INVALID';
  override readonly pythonName = 'ValueError';
}

/** A secret key file that others may read. */
export class KeyFileModeError extends KeyFileError {
  override readonly code = 'KEY_FILE_MODE';
}

/** A bound peer whose CURVE authentication does not keep strangers out, or could not be shown to. */
export class CurveNotEnforcedError extends SpleniumError {
  override readonly code = 'CURVE_NOT_ENFORCED';
  override readonly pythonName = 'AuthenticationError';
}
