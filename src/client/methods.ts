import { findMethod, type MethodName, METHODS } from '../rpc/method-table.js';

/** Every function that a daemon serves, in the order of the table. */
export const METHOD_NAMES: readonly string[] = METHODS.map(({ name }) => name);

export const isMethodName = (name: string): name is MethodName => findMethod(name) !== undefined;
