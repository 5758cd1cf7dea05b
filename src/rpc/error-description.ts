import { createErrorDescriber } from '../callosum/index.js';
import type { ErrorDescription } from '../callosum/index.js';
import { hasCode, isSpleniumError } from '../core/errors.js';
import { AgentIdNotFoundError } from '../runtime/errors.js';
import type { ManagerVersion } from './method.js';

/**
 * The three texts of a failed call in the words of one line of managers, which copy name and repr into the session's
 * status (spec/rpc-functions.md 1.7).
 */
export function createRpcErrorDescriber(options: {
  readonly managerVersion: ManagerVersion;
  /** Show stack frames with their file paths. */
  readonly debug?: boolean;
}): (error: unknown) => ErrorDescription {
  const describe = createErrorDescriber(options);
  if (options.managerVersion === '25.17') return describe;
  return (error) => {
    const description = describe(error);
    return isAgentIdNotFound(error) ? { ...description, repr: error.pythonReprIn26 } : description;
  };
}

function isAgentIdNotFound(error: unknown): error is AgentIdNotFoundError {
  return hasCode(error, AgentIdNotFoundError.CODE);
}

/** Shortages that a busy node answers with all day; they are no news (spec/rpc-functions.md 1.5). */
const RESOURCE_ERRORS: ReadonlySet<string> = new Set([
  'ResourceError',
  'InsufficientResource',
  'FractionalResourceFragmented',
  'UnsupportedResource',
  'InvalidResourceArgument',
  'InvalidResourceCombination',
  'NotMultipleOfQuantum',
]);

/** How much attention a failed call deserves in the log. */
export function severityOf(error: unknown): 'debug' | 'warn' | 'error' {
  if (!isSpleniumError(error) || error.code === 'INVARIANT_VIOLATED') return 'error';
  if (error.code === 'CANCELLED' || error.code === 'TIMEOUT') return 'debug';
  return RESOURCE_ERRORS.has(error.pythonName) ? 'debug' : 'warn';
}
