import type { PortRange } from './formats.js';
import type { ConfigProblem, ConfigWarning, Position } from './problems.js';
import type { AgentConfig } from './types.js';

type Locate = (index: number) => { readonly origin: string; readonly position?: Position };

/**
 * Two agents never hand out the same port. Agents that all inherit one range get equal consecutive parts of it, so
 * that an original file works unchanged; ranges that overlap otherwise are refused.
 */
export function splitPortRange(
  agents: readonly AgentConfig[],
  locate: Locate,
): {
  readonly agents: readonly AgentConfig[];
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly ConfigWarning[];
} {
  const [first] = agents;
  if (first && agents.length > 1 && agents.every(({ portRange }) => same(portRange, first.portRange))) {
    const parts = partition(first.portRange, agents.length);
    const shown = parts
      .map((range, index) => `${agents[index]?.id ?? String(index)} ${show(range)}`)
      .join(', ');
    return {
      agents: agents.map((agent, index) => ({ ...agent, portRange: parts[index] ?? agent.portRange })),
      problems: [],
      warnings: [
        {
          key: 'container.port-range',
          message: `all agents inherit ${show(first.portRange)}; it is split between them: ${shown}`,
          ...locate(0),
        },
      ],
    };
  }
  const problems = agents.flatMap((agent, index) =>
    agents.slice(0, index).flatMap((other, otherIndex) =>
      agent.portRange.first <= other.portRange.last && other.portRange.first <= agent.portRange.last
        ? [
            {
              key: `agents[${String(index)}].container.port-range`,
              message: `${show(agent.portRange)} of ${agent.id ?? ''} overlaps ${show(other.portRange)} of ${other.id ?? `agents[${String(otherIndex)}]`}`,
              ...locate(index),
            },
          ]
        : [],
    ),
  );
  return { agents, problems, warnings: [] };
}

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
