import { isSpleniumError, messageOf, pythonString } from '../core/errors.js';
import type { ErrorDescription } from './errors.js';
import type { ErrorDescriber } from './peer-options.js';

/** Longest text of one field of a description; a handler may put a whole log into its message. */
const MAX_FIELD_CHARS = 64 * 1024;

/**
 * The three texts of FAILURE and ERROR for anything that was thrown. Outside debug mode the traceback is only its
 * last line, so that no file path or library name leaves the process.
 */
export function createErrorDescriber(options: { readonly debug?: boolean } = {}): ErrorDescriber {
  const debug = options.debug ?? false;
  return (error) => {
    const name = pythonNameOf(error);
    const message = messageOf(error);
    const repr = isSpleniumError(error) ? error.pythonRepr : `${name}(${pythonString(message)})`;
    const frames = debug ? stackFramesOf(error) : '';
    const lastLine = message === '' ? name : `${name}: ${message}`;
    return limited({
      name,
      repr,
      traceback: `Traceback (most recent call last):\n${frames}${lastLine}\n`,
    });
  };
}

/** Foreign errors travel under the nearest name Python has, so that managers see a class they know. */
function pythonNameOf(error: unknown): string {
  if (isSpleniumError(error)) return error.pythonName;
  const name = typeof error === 'object' && error !== null && 'name' in error ? error.name : undefined;
  switch (name) {
    case 'AbortError':
      return 'CancelledError';
    case 'TimeoutError':
      return 'TimeoutError';
    case 'TypeError':
      return 'TypeError';
    case 'RangeError':
      return 'ValueError';
    default:
      return 'RuntimeError';
  }
}

function stackFramesOf(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('stack' in error) || typeof error.stack !== 'string')
    return '';
  const frames = error.stack.split('\n').filter((line) => line.trimStart().startsWith('at '));
  // Python lists the innermost frame last.
  return frames
    .reverse()
    .map((line) => `  ${line.trim()}\n`)
    .join('');
}

function limited(description: ErrorDescription): ErrorDescription {
  const cut = (text: string) =>
    text.length > MAX_FIELD_CHARS ? `${text.slice(0, MAX_FIELD_CHARS)}...` : text;
  return { name: cut(description.name), repr: cut(description.repr), traceback: cut(description.traceback) };
}
