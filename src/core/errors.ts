/**
 * Every error this program raises on purpose.
 *
 * An error has two faces: `code`, stable and upper snake case, for operators and programs; and the pair
 * (`pythonName`, `pythonRepr`) that a manager sees in a FAILURE reply and copies into the session's status
 * (spec/rpc-functions.md 1.5, 1.7 and appendix B). Match errors by `code`, never by `instanceof`: under jest and
 * across worker threads an error may come from another realm.
 */
export interface SpleniumErrorOptions {
  /** May the same call succeed later without any change? */
  readonly retryable?: boolean;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

export abstract class SpleniumError extends Error {
  abstract readonly code: string;
  /** Class name without module, as the original's manager knows it. */
  abstract readonly pythonName: string;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(message: string, options: SpleniumErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.retryable = options.retryable ?? false;
    this.details = options.details ?? {};
    this.name = new.target.name;
  }

  /** What Python's `repr()` would print for the corresponding exception. */
  get pythonRepr(): string {
    return `${this.pythonName}(${pythonString(this.message)})`;
  }
}

/** Python's `repr` of a string: single quotes unless the text holds only single ones. */
export function pythonString(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let out = quote;
  for (const char of text) {
    const point = char.codePointAt(0) ?? 0;
    if (char === '\\' || char === quote) out += `\\${char}`;
    else if (char === '\n') out += '\\n';
    else if (char === '\r') out += '\\r';
    else if (char === '\t') out += '\\t';
    else if (point < 0x20 || point === 0x7f) out += `\\x${point.toString(16).padStart(2, '0')}`;
    else out += char;
  }
  return out + quote;
}

/** An argument has the right type and a value that cannot be used. */
export class ValueError extends SpleniumError {
  override readonly code: string = 'ARGS_INVALID_VALUE';
  override readonly pythonName: string = 'ValueError';
}

/** Arguments do not bind to the function's parameters. */
export class PythonTypeError extends SpleniumError {
  override readonly code = 'ARGS_TYPE';
  override readonly pythonName = 'TypeError';
}

/** A mandatory key is absent, or a kernel is not known here. The message is the bare key, as in Python. */
export class KeyError extends SpleniumError {
  override readonly code: string = 'KEY_NOT_FOUND';
  override readonly pythonName: string = 'KeyError';
}

/** What has no class of its own at the manager; the message says what happened. */
export class RuntimeError extends SpleniumError {
  override readonly code: string = 'RUNTIME';
  override readonly pythonName: string = 'RuntimeError';
}

/** The path is outside the places that callers may touch, or the system refuses it to the daemon. */
export class PermissionError extends SpleniumError {
  override readonly code = 'PERMISSION_DENIED';
  override readonly pythonName = 'PermissionError';
}

/** A file or directory that a call names is not there. */
export class FileNotFoundError extends SpleniumError {
  override readonly code = 'FILE_NOT_FOUND';
  override readonly pythonName = 'FileNotFoundError';
}

/** A time limit of ours, not the caller's, has passed. */
export class TimeoutError extends SpleniumError {
  override readonly code = 'TIMEOUT';
  override readonly pythonName = 'TimeoutError';
}

/** The caller cancelled the call; answered with CANCELLED, never with FAILURE. */
export class CancelledError extends SpleniumError {
  override readonly code = 'CANCELLED';
  override readonly pythonName = 'CancelledError';
}

/** A function of the surface that does not work here, such as on a backend without images; names the function. */
export class NotImplementedError extends SpleniumError {
  override readonly code = 'NOT_IMPLEMENTED';
  override readonly pythonName = 'NotImplementedError';

  constructor(functionName: string, why: string) {
    super(`${functionName}: ${why}`, { details: { functionName } });
  }
}

/** Something that must hold does not: a defect of this program, never of the caller. */
export class InvariantError extends SpleniumError {
  override readonly code = 'INVARIANT_VIOLATED';
  override readonly pythonName = 'AssertionError';
}

/** A bound is reached (in-flight calls, queue length, message size): try again later or ask for less. */
export class LimitExceededError extends SpleniumError {
  override readonly code = 'LIMIT_EXCEEDED';
  override readonly pythonName = 'LimitExceededError';
}

/** Realm-safe test for one of ours, optionally with a given code. */
export function isSpleniumError(error: unknown, code?: string): error is SpleniumError {
  return (
    typeof error === 'object' &&
    error !== null &&
    'pythonName' in error &&
    'code' in error &&
    (code === undefined || error.code === code)
  );
}

/** Realm-safe test of a foreign error's `code`, such as `ENOENT`. */
export function hasCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'message' in error && typeof error.message === 'string')
    return error.message;
  return String(error);
}

/** The name of the class of anything that was thrown: `unknown` for what has none. */
export function nameOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'name' in error ? String(error.name) : 'unknown';
}
