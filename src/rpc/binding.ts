import { PythonTypeError } from '../core/errors.js';
import type { ManagerVersion, Parameter } from './method.js';

/** A function's parameters as one line of managers names them. */
export interface Signature {
  /** As Python's messages show it, without parentheses. */
  readonly qualifiedName: string;
  readonly positional: readonly Parameter[];
  readonly keywordOnly: readonly Parameter[];
  /** Both, in that order. */
  readonly all: readonly Parameter[];
  readonly nameOf: (parameter: Parameter) => string;
}

export function signatureOf(
  name: string,
  parameters: readonly Parameter[],
  managerVersion: ManagerVersion,
): Signature {
  const positional = parameters.filter((parameter) => !parameter.keywordOnly);
  const keywordOnly = parameters.filter((parameter) => parameter.keywordOnly);
  return {
    qualifiedName: `AgentRPCServer.${name}`,
    positional,
    keywordOnly,
    all: [...positional, ...keywordOnly],
    nameOf: (parameter) => (managerVersion === '25.17' ? parameter.name : parameter.nameIn26),
  };
}

/**
 * Binds positional and keyword arguments as Python does for a method, in the order in which CPython checks.
 * @returns the raw value of each parameter, defaults filled in.
 * @throws PythonTypeError in CPython's words.
 */
export function bindArguments(
  signature: Signature,
  args: readonly unknown[],
  kwargs: ReadonlyMap<string, unknown>,
): ReadonlyMap<Parameter, unknown> {
  const { qualifiedName, positional, keywordOnly, all, nameOf } = signature;
  const bound = new Map<Parameter, unknown>();
  for (let index = 0; index < args.length; index++) {
    const parameter = positional[index];
    if (parameter) bound.set(parameter, args[index]);
  }
  for (const [keyword, value] of kwargs) {
    const parameter = all.find((candidate) => nameOf(candidate) === keyword);
    if (!parameter)
      throw new PythonTypeError(`${qualifiedName}() got an unexpected keyword argument '${keyword}'`);
    if (bound.has(parameter))
      throw new PythonTypeError(`${qualifiedName}() got multiple values for argument '${keyword}'`);
    bound.set(parameter, value);
  }
  if (args.length > positional.length) throw tooMany(signature, args.length, bound);
  if (bound.size === all.length) return bound;
  throwIfMissing(signature, positional, 'positional', bound);
  throwIfMissing(signature, keywordOnly, 'keyword-only', bound);
  for (const parameter of all) if (!bound.has(parameter)) bound.set(parameter, parameter.defaultValue);
  return bound;
}

/** Python counts `self` on both sides. */
function tooMany(
  { qualifiedName, positional, keywordOnly }: Signature,
  count: number,
  bound: ReadonlyMap<Parameter, unknown>,
): PythonTypeError {
  const most = positional.length + 1;
  const least = positional.filter((parameter) => !parameter.optional).length + 1;
  const given = count + 1;
  const takes = least === most ? String(most) : `from ${String(least)} to ${String(most)}`;
  const plural = least === most && most === 1 ? '' : 's';
  const keywords = keywordOnly.filter((parameter) => bound.has(parameter)).length;
  const extra =
    keywords === 0
      ? ''
      : ` positional arguments (and ${String(keywords)} keyword-only argument${keywords === 1 ? '' : 's'})`;
  return new PythonTypeError(
    `${qualifiedName}() takes ${takes} positional argument${plural} but ${String(given)}${extra} were given`,
  );
}

function throwIfMissing(
  { qualifiedName, nameOf }: Signature,
  parameters: readonly Parameter[],
  kind: 'positional' | 'keyword-only',
  bound: ReadonlyMap<Parameter, unknown>,
): void {
  const missing = parameters
    .filter((parameter) => !parameter.optional && !bound.has(parameter))
    .map((parameter) => `'${nameOf(parameter)}'`);
  if (missing.length === 0) return;
  throw new PythonTypeError(
    `${qualifiedName}() missing ${String(missing.length)} required ${kind} argument` +
      `${missing.length === 1 ? '' : 's'}: ${enumeration(missing)}`,
  );
}

function enumeration(names: readonly string[]): string {
  if (names.length <= 2) return names.join(' and ');
  return `${names.slice(0, -1).join(', ')}, and ${names.at(-1) ?? ''}`;
}
