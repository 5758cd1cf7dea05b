import type { z } from 'zod';
import type { Agent } from '../agent/agent.js';
import type { NodeServices } from './node-services.js';

/** Whose surface is spoken: some functions differ between the two lines (spec/rpc-functions.md 2.2). */
export type ManagerVersion = '25.17' | '26.9';

/** One parameter as callers see it. `schema` turns the wire value into the handler's argument. */
export interface Parameter<
  Name extends string = string,
  Schema extends z.ZodType = z.ZodType,
  Optional extends boolean = boolean,
> {
  readonly name: Name;
  readonly doc: string;
  readonly schema: Schema;
  readonly optional: Optional;
  /** The wire value that stands in for an absent one; meaningless unless `optional`. */
  readonly defaultValue: unknown;
  readonly keywordOnly: boolean;
  /** The name under the 26.9 line where it differs. */
  readonly nameIn26: string;
}

export function required<const Name extends string, Schema extends z.ZodType>(
  name: Name,
  schema: Schema,
  doc: string,
  options: { readonly nameIn26?: string } = {},
): Parameter<Name, Schema, false> {
  const { nameIn26 = name } = options;
  return { name, doc, schema, optional: false, defaultValue: undefined, keywordOnly: false, nameIn26 };
}

export function optional<const Name extends string, Schema extends z.ZodType>(
  name: Name,
  schema: Schema,
  defaultValue: z.input<NoInfer<Schema>>,
  doc: string,
  options: { readonly keywordOnly?: boolean } = {},
): Parameter<Name, Schema, true> {
  const { keywordOnly = false } = options;
  return { name, doc, schema, optional: true, defaultValue, keywordOnly, nameIn26: name };
}

/** What a handler gets: every argument by name, parsed. */
export type ArgumentsOf<Params extends readonly Parameter[]> = {
  readonly [P in Params[number] as P['name']]: z.output<P['schema']>;
};

/** What a caller gives: wire values by name, optional ones possibly left out. */
export type CallArguments<Params extends readonly Parameter[]> = {
  readonly [P in Extract<Params[number], { optional: false }> as P['name']]: z.input<P['schema']>;
} & {
  readonly [P in Extract<Params[number], { optional: true }> as P['name']]?: z.input<P['schema']>;
};

/** What every handler may use besides its arguments. */
export interface NodeContext {
  readonly node: NodeServices;
  readonly managerVersion: ManagerVersion;
  /** Aborts when the caller cancels, the deadline passes or the server closes. */
  readonly signal: AbortSignal;
}

export interface AgentContext extends NodeContext {
  /** The agent that the call's `agent_id` names. */
  readonly agent: Agent;
}

interface MethodFacts<Name extends string, Params extends readonly Parameter[], Result extends z.ZodType> {
  readonly name: Name;
  readonly doc: string;
  /** In declared order, without the `agent_id` that every agent method takes last. */
  readonly params: Params;
  /** The reply as a caller finds it after decoding. */
  readonly returns: Result;
  /** May a caller who does not know whether the call arrived send it again? */
  readonly repeat: 'safe' | 'unsafe';
  /**
   * How arguments and errors are treated: `v1` binds like Python; `v3` takes one validated map `req`, and its
   * failures are no `agent_error` events (spec/rpc-functions.md 2.3).
   */
  readonly flavour: 'v1' | 'v3';
  /** The line of managers that a function ended with; absent: it lives. */
  readonly lastIn?: '25.17';
}

type Handler<Params extends readonly Parameter[], Result extends z.ZodType, Context> = (
  args: ArgumentsOf<Params>,
  context: Context,
) => z.input<Result> | Promise<z.input<Result>>;

/** A function of one agent: takes a trailing `agent_id`, absent or nil for the default agent. */
export interface AgentMethod<
  Name extends string = string,
  Params extends readonly Parameter[] = readonly Parameter[],
  Result extends z.ZodType = z.ZodType,
> extends MethodFacts<Name, Params, Result> {
  readonly target: 'agent';
  readonly handler: Handler<Params, Result, AgentContext>;
}

/** A function of the node. It has an `agent_id` only if it declares one, and looks at it itself. */
export interface NodeMethod<
  Name extends string = string,
  Params extends readonly Parameter[] = readonly Parameter[],
  Result extends z.ZodType = z.ZodType,
> extends MethodFacts<Name, Params, Result> {
  readonly target: 'node';
  readonly handler: Handler<Params, Result, NodeContext>;
}

/** Any row of the table, with its types erased: what the dispatcher works on. */
export type Method = {
  readonly [Target in 'agent' | 'node']: MethodFacts<string, readonly Parameter[], z.ZodType> & {
    readonly target: Target;
    /** `never`, since only the row's own parameters produce what its handler takes. */
    readonly handler: (args: never, context: Target extends 'agent' ? AgentContext : NodeContext) => unknown;
  };
}['agent' | 'node'];

type Defined<Row extends { readonly flavour: unknown }> = Omit<Row, 'flavour'> & {
  readonly flavour?: 'v1' | 'v3';
};

export function agentMethod<
  const Name extends string,
  const Params extends readonly Parameter[],
  Result extends z.ZodType,
>(row: Defined<Omit<AgentMethod<Name, Params, Result>, 'target'>>): AgentMethod<Name, Params, Result> {
  return { flavour: 'v1', ...row, target: 'agent' };
}

export function nodeMethod<
  const Name extends string,
  const Params extends readonly Parameter[],
  Result extends z.ZodType,
>(row: Defined<Omit<NodeMethod<Name, Params, Result>, 'target'>>): NodeMethod<Name, Params, Result> {
  return { flavour: 'v1', ...row, target: 'node' };
}
