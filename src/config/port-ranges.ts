import type { EffectiveValues } from './effective.js';
import type { PortRange } from './formats.js';
import type { ConfigProblem, ConfigWarning } from './problems.js';
import type { RawValues } from './sections.js';
import type { DaemonConfig } from './types.js';

/** What host ports each agent gets, in file order. */
export interface AgentPorts {
  readonly range: PortRange;
  readonly sockPort: number;
}

export interface AssignedPorts {
  readonly agents: readonly AgentPorts[];
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly ConfigWarning[];
}

/**
 * Two agents never hand out the same port. Agents that inherit one range, or that all have the same, get equal
 * consecutive parts of it, so that an original file works unchanged; ranges that overlap otherwise are refused.
 * Agents that inherit the agent socket port get consecutive ones.
 */
export function assignPorts(
  agents: readonly EffectiveValues[],
  own: readonly RawValues[] | null,
): AssignedPorts {
  const ranges = splitInherited(agents, own);
  const socks = agents.map(
    (values, index) =>
      values.get('agent.agent-sock-port') + (own && !own[index]?.has('agent.agent-sock-port') ? index : 0),
  );
  return {
    agents: agents.map((values, index) => ({
      range: ranges.ranges[index] ?? values.get('container.port-range'),
      sockPort: socks[index] ?? values.get('agent.agent-sock-port'),
    })),
    problems: [...ranges.problems, ...overlaps(agents, ranges.ranges), ...equalSockPorts(agents, socks)],
    warnings: ranges.warnings,
  };
}

function splitInherited(agents: readonly EffectiveValues[], own: readonly RawValues[] | null) {
  const ranges = agents.map((values) => values.get('container.port-range'));
  const problems: ConfigProblem[] = [];
  const warnings: ConfigWarning[] = [];
  const [first] = ranges;
  if (!first || agents.length < 2) return { ranges, problems, warnings };
  const all = agents.map((_, index) => index);
  const group = ranges.every((range) => same(range, first))
    ? all
    : all.filter((index) => own?.[index]?.has('container.port-range') === false);
  const [leader, ...others] = group;
  if (leader === undefined || others.length === 0) return { ranges, problems, warnings };
  const whole = ranges[leader] ?? first;
  const place = agents[leader]?.place('container.port-range') ?? { key: 'container.port-range', origin: '' };
  const parts = partition(whole, group.length);
  if (parts.some((part) => part.last < part.first))
    problems.push({ ...place, message: `${show(whole)} is too small for ${String(group.length)} agents` });
  const shown = group.map((index, nth) => `${nameOf(agents[index], index)} ${show(parts[nth] ?? whole)}`);
  warnings.push({
    ...place,
    key: 'container.port-range',
    message: `${group.length === agents.length ? 'all' : String(group.length)} agents inherit ${show(whole)}; it is split between them: ${shown.join(', ')}`,
  });
  for (const [nth, index] of group.entries()) ranges[index] = parts[nth] ?? whole;
  return { ranges, problems, warnings };
}

function* overlaps(
  agents: readonly EffectiveValues[],
  ranges: readonly PortRange[],
): Generator<ConfigProblem> {
  for (const [index, range] of ranges.entries())
    for (const [earlier, other] of ranges.slice(0, index).entries())
      if (range.first <= other.last && other.first <= range.last)
        yield {
          ...placeOf(agents[index], 'container.port-range'),
          key: `agents[${String(index)}].container.port-range`,
          message: `${show(range)} of ${nameOf(agents[index], index)} overlaps ${show(other)} of ${nameOf(agents[earlier], earlier)}`,
        };
}

function* equalSockPorts(
  agents: readonly EffectiveValues[],
  ports: readonly number[],
): Generator<ConfigProblem> {
  for (const [index, port] of ports.entries()) {
    const earlier = ports.indexOf(port);
    if (earlier < index)
      yield {
        ...placeOf(agents[index], 'agent.agent-sock-port'),
        key: `agents[${String(index)}].agent.agent-sock-port`,
        message: `${String(port)} of ${nameOf(agents[index], index)} is also the port of ${nameOf(agents[earlier], earlier)}`,
      };
    if (port > 65_535)
      yield {
        ...placeOf(agents[index], 'agent.agent-sock-port'),
        message: `no port is left for agent ${String(index)}`,
      };
  }
}

function placeOf(values: EffectiveValues | undefined, path: string) {
  return values?.place(path) ?? { key: path, origin: '' };
}

const nameOf = (values: EffectiveValues | undefined, index: number): string =>
  (values?.has('agent.id') === true ? values.get('agent.id') : null) ?? `agents[${String(index)}]`;

const same = (a: PortRange, b: PortRange): boolean => a.first === b.first && a.last === b.last;
const show = ({ first, last }: PortRange): string => `${String(first)}-${String(last)}`;

function partition({ first, last }: PortRange, count: number): PortRange[] {
  const total = last - first + 1;
  let next = first;
  return Array.from({ length: count }, (_, index) => {
    const size = Math.floor(total / count) + (index < total % count ? 1 : 0);
    const range = { first: next, last: next + size - 1 };
    next += size;
    return range;
  });
}

/** Ports of the daemon itself that a kernel could be handed. */
export function portWarnings(config: DaemonConfig): ConfigWarning[] {
  const ours: readonly (readonly [string, number])[] = [
    ['agent.rpc-listen-addr', config.rpc.listen.port],
    ...(config.http.listen ? [['splenium.http-addr', config.http.listen.port] as const] : []),
    ...config.agents.map(({ agentSockPort }) => ['agent.agent-sock-port', agentSockPort] as const),
  ];
  return config.agents.flatMap(({ id, portRange }) =>
    ours
      .filter(([, port]) => portRange.first <= port && port <= portRange.last)
      .map(([key, port]) => ({
        key,
        message: `port ${String(port)} lies in ${show(portRange)}, the ports of kernels of ${id ?? 'the agent'}`,
        origin: config.file ?? '',
      })),
  );
}
