import type { Method } from '../rpc/method.js';
import { parametersOf, routesToAgent } from '../rpc/method-table.js';

export interface CallBody {
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
}

/**
 * Arguments by name as the body of a call: positional as far as they go without a gap, as managers send them, the rest
 * by keyword. `agent_id` goes along by keyword where the function takes one and the caller has not given it.
 */
export function encodeCall(
  method: Method,
  given: Readonly<Record<string, unknown>>,
  agentId: string | null,
): CallBody {
  const args: unknown[] = [];
  const kwargs: Record<string, unknown> = {};
  let gap = method.flavour === 'v3';
  for (const parameter of parametersOf(method)) {
    const { name, keywordOnly } = parameter;
    const value = given[name];
    if (value === undefined || routesToAgent(parameter)) {
      gap = true;
      if (name === 'agent_id' && agentId !== null) kwargs[name] = agentId;
    } else if (gap || keywordOnly || name === 'agent_id') kwargs[name] = value;
    else args.push(value);
  }
  return { args, kwargs };
}
