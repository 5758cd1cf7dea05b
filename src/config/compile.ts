import { AGENT_CHECKS } from './agent-checks.js';
import { compileAgent } from './agent-config.js';
import { type CheckContext, runChecks } from './check.js';
import { compileDaemon } from './daemon-config.js';
import { type EffectiveValues, type Environment, effectiveValues } from './effective.js';
import type { HostFacts } from './host-facts.js';
import { NODE_CHECKS } from './node-checks.js';
import { environmentForAgent, overrideForAgent, overrideLogLevel, overrideRpcAddress } from './overrides.js';
import { type AgentPorts, assignPorts, portWarnings } from './port-ranges.js';
import type { ConfigProblem, ConfigWarning } from './problems.js';
import { ALLOCATIONS, type RawValues } from './sections.js';
import type { DaemonConfig } from './types.js';

/** Everything that decides on the configuration, read but not yet layered. */
export interface ConfigInput {
  readonly file: string;
  readonly shared: RawValues;
  /** What each `[[agents]]` entry writes; null in single-agent mode. */
  readonly own: readonly RawValues[] | null;
  readonly env: Environment;
  readonly cwd: string;
  readonly home: string;
  /** Of the command line. */
  readonly logLevel?: string;
  readonly host: HostFacts;
}

export interface CompiledConfig {
  /** Null when there are problems. */
  readonly config: DaemonConfig | null;
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly ConfigWarning[];
}

/**
 * Layers file, environment, command line and agents, checks every key and every rule across keys, and turns the
 * values into the shape the program uses. Pure; all problems are found at once.
 */
export function compileConfig(input: ConfigInput): CompiledConfig {
  const base = overrideLogLevel(overrideRpcAddress(input.shared, input.env), input.logLevel);
  const shared = effectiveValues(base, input.env);
  const agents = input.own?.map((own) =>
    effectiveValues(overrideForAgent(base, own, ALLOCATIONS), environmentForAgent(input.env, own)),
  ) ?? [shared];
  const context: CheckContext = { file: input.file, shared, agents, own: input.own, host: input.host };
  const checked = runChecks([...NODE_CHECKS, ...AGENT_CHECKS], context);
  const ports = portsOf(agents, input);
  const problems = [...parseProblems(shared, agents), ...checked.problems, ...ports.problems];
  const warnings = [...checked.warnings, ...ports.warnings];
  if (problems.length > 0) return { config: null, problems, warnings };
  const config = compileDaemon(
    shared,
    agents.map((values, index) => compileAgent(values, portsAt(ports.agents, index), input)),
    agents.map((values) => ({ agentId: values.get('agent.id') || null, entries: values.entries })),
    input,
  );
  return { config, problems, warnings: [...warnings, ...portWarnings(config)] };
}

/** Shared complaints once, then those about what agents write themselves. */
function parseProblems(shared: EffectiveValues, agents: readonly EffectiveValues[]): ConfigProblem[] {
  const problems = [...shared.problems];
  const known = new Set(problems.map(({ key, message }) => `${key}\0${message}`));
  for (const values of agents)
    if (values !== shared)
      problems.push(...values.problems.filter(({ key, message }) => !known.has(`${key}\0${message}`)));
  return problems;
}

function portsOf(agents: readonly EffectiveValues[], input: ConfigInput) {
  const parsed = agents.every(
    (values) => values.has('container.port-range') && values.has('agent.agent-sock-port'),
  );
  return parsed ? assignPorts(agents, input.own) : { agents: [], problems: [], warnings: [] };
}

function portsAt(ports: readonly AgentPorts[], index: number): AgentPorts {
  const found = ports[index];
  if (!found) throw new RangeError(`no ports for agent ${String(index)}`);
  return found;
}
