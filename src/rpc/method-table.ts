import { orNil, text } from './wire/scalars.js';
import type { ManagerVersion, Method, Parameter } from './method.js';
import { optional } from './method.js';
import { adminMethods } from './methods/admin.js';
import { executionMethods } from './methods/execution.js';
import { fileMethods } from './methods/files.js';
import { imageMethods } from './methods/images.js';
import { kernelMethods } from './methods/kernels.js';
import { networkMethods } from './methods/networks.js';
import { nodeMethods } from './methods/node.js';
import { portMethods } from './methods/ports.js';
import { resourceMethods } from './methods/resources.js';
import { serviceMethods } from './methods/services.js';

/**
 * Every function of the RPC surface: the one source of truth. The server dispatches from it, the client is typed by
 * it, the reference is generated from it.
 */
const ROWS = [
  ...nodeMethods,
  ...adminMethods,
  ...networkMethods,
  ...imageMethods,
  ...portMethods,
  ...resourceMethods,
  ...kernelMethods,
  ...executionMethods,
  ...serviceMethods,
  ...fileMethods,
] as const;

export type MethodRow = (typeof ROWS)[number];
export type MethodName = MethodRow['name'];
export type RowOf<Name extends MethodName> = Extract<MethodRow, { name: Name }>;

export const METHODS: readonly Method[] = ROWS;

const BY_NAME: ReadonlyMap<string, Method> = new Map(METHODS.map((method) => [method.name, method]));

export function findMethod(name: string): Method | undefined {
  return BY_NAME.get(name);
}

/** The functions that one line of managers may call. */
export function methodsFor(managerVersion: ManagerVersion): readonly Method[] {
  return METHODS.filter(({ lastIn }) => lastIn === undefined || lastIn === managerVersion);
}

/**
 * All parameters of a function as they are bound: an agent's function takes a trailing `agent_id`, which is
 * keyword-only where the parameters before it are.
 */
export function parametersOf(method: Method): readonly Parameter[] {
  if (method.target === 'node') return method.params;
  return [
    ...method.params,
    method.params.some(({ keywordOnly }) => keywordOnly) ? KEYWORD_AGENT_ID : AGENT_ID,
  ];
}

const AGENT_ID_DOC = 'Which agent of the node; absent or nil: the default agent.';
const agentIdValue = orNil(text);
const AGENT_ID = optional('agent_id', agentIdValue, null, AGENT_ID_DOC);
const KEYWORD_AGENT_ID = optional('agent_id', agentIdValue, null, AGENT_ID_DOC, { keywordOnly: true });

/** True for the trailing parameter that the dispatcher itself consumes. */
export function routesToAgent(parameter: Parameter): boolean {
  return parameter === AGENT_ID || parameter === KEYWORD_AGENT_ID;
}
