import { parseAgentId } from '../core/ids.js';
import { messageOf } from '../core/errors.js';
import { findAccount } from './accounts.js';
import type { Check, CheckContext } from './check.js';
import type { EffectiveValues } from './effective.js';
import type { ConfigProblem } from './problems.js';
import { ALLOCATIONS } from './sections.js';

const ids: Check = {
  needs: ['agent.id'],
  *run(context) {
    const seen = new Map<string, number>();
    for (const [index, values] of context.agents.entries()) {
      const id = values.get('agent.id');
      const own = context.own?.[index];
      if (own && !own.has('agent.id')) {
        const position = (own.get('agent') ?? [...own.values()][0])?.positionOf();
        yield {
          key: `agents[${String(index)}].agent.id`,
          message: 'each of several agents needs an id of its own',
          origin: context.file,
          ...(position ? { position } : {}),
        };
        continue;
      }
      if (id === null || id === '') continue;
      const complaint = invalidId(id);
      if (complaint !== null) yield { ...values.place('agent.id'), message: complaint };
      const earlier = seen.get(id);
      if (earlier !== undefined)
        yield {
          ...values.place('agent.id'),
          message: `Duplicate agent IDs found! "${id}" is also the id of agents[${String(earlier)}]`,
        };
      else seen.set(id, index);
    }
  },
};

function invalidId(id: string): string | null {
  try {
    parseAgentId(id);
    return null;
  } catch (error) {
    return messageOf(error);
  }
}

const privileges: Check = {
  needs: [
    'container.stats-type',
    'container.scratch-type',
    'container.sandbox-type',
    'container.krunner-volumes',
  ],
  *run({ agents, host, shared }) {
    const hasOriginalRunner = Object.keys(shared.get('container.krunner-volumes') ?? {}).length > 0;
    for (const values of agents) {
      if (values.get('container.stats-type') === 'cgroup' && host.uid !== 0)
        yield {
          ...values.place('container.stats-type'),
          message: 'Cannot use cgroup statistics collection mode unless the agent runs as root.',
        };
      if (values.get('container.scratch-type') === 'hostfile' && host.uid !== 0)
        yield {
          ...values.place('container.scratch-type'),
          message: 'Cannot use hostfile scratch type unless the agent runs as root.',
        };
      if (values.get('container.sandbox-type') !== 'jail') continue;
      // Accepted, it would confine nothing while kernels are told that it does.
      if (!hasOriginalRunner)
        yield {
          ...values.place('container.sandbox-type'),
          message:
            'the jail sandbox is not supported by this agent with its own runner: name container.krunner-volumes for the original’s, or use "docker", and splenium.docker.hardening and seccomp-profile to confine kernels further',
        };
      else if (host.arch !== 'x86_64')
        yield {
          ...values.place('container.sandbox-type'),
          message: `Jail sandbox is not supported on architecture ${host.arch}`,
        };
    }
  },
};

const nfsScratches: Check = {
  needs: [
    'agent.backend',
    'container.scratch-type',
    'container.scratch-nfs-address',
    'container.scratch-nfs-options',
  ],
  *run({ agents }) {
    for (const values of agents)
      if (
        values.get('agent.backend') === 'kubernetes' &&
        values.get('container.scratch-type') === 'k8s-nfs' &&
        (values.get('container.scratch-nfs-address') === null ||
          values.get('container.scratch-nfs-options') === null)
      )
        yield {
          ...values.place('container.scratch-type'),
          message: 'scratch-nfs-address and scratch-nfs-options are required for k8s-nfs',
        };
  },
};

const owners: Check = {
  needs: ['container.kernel-uid', 'container.kernel-gid'],
  *run({ agents, host }) {
    for (const values of agents)
      for (const [path, kind] of [
        ['container.kernel-uid', 'user'],
        ['container.kernel-gid', 'group'],
      ] as const) {
        const owner = values.get(path);
        if (typeof owner === 'string' && findAccount(host.passwd, owner) === null)
          yield { ...values.place(path), message: `no such ${kind} ${owner} in system` };
      }
  },
};

const allocationMode: Check = {
  needs: ['resource.allocation-mode'],
  *run({ agents, own }) {
    for (const values of agents) {
      const manual = values.get('resource.allocation-mode') === 'manual';
      const given = values.isWritten(ALLOCATIONS);
      if (manual && !given)
        yield {
          ...values.place('resource.allocation-mode'),
          ...(own === null ? {} : agentOf(values)),
          message: `On MANUAL mode, config must specify cpu and mem resource allocations${forAgent(values)}`,
        };
      if (!manual && given)
        yield {
          ...values.place(ALLOCATIONS),
          message: 'On non-MANUAL mode, config must not specify manual resource allocations',
        };
    }
  },
};

/** The place of the agent that lacks something. */
function agentOf(values: EffectiveValues): Pick<ConfigProblem, 'origin' | 'position'> {
  const { origin, position } = values.place('agent.id');
  return { origin, ...(position ? { position } : {}) };
}

function forAgent(values: EffectiveValues): string {
  const id = values.has('agent.id') ? values.get('agent.id') : null;
  return id === null ? '' : `; agent ${id} has none`;
}

/** The agents whose allocations stand and parse. */
const allocated = ({ agents }: CheckContext): readonly EffectiveValues[] =>
  agents.filter(
    (values) => values.has('resource.allocations.cpu') && values.has('resource.allocations.devices'),
  );

const sameSlots: Check = {
  needs: ['resource.allocation-mode'],
  *run(context) {
    const [first, ...others] = allocated(context);
    if (!first) return;
    const expected = slotsOf(first);
    for (const values of others)
      if (slotsOf(values) !== expected)
        yield {
          ...values.place(
            values.isWritten('resource.allocations.devices') ? 'resource.allocations.devices' : ALLOCATIONS,
          ),
          message: `All agents must have the same slots defined in the devices! Here: ${slotsOf(values) || 'none'}; first agent: ${expected || 'none'}`,
        };
  },
};

function slotsOf(values: EffectiveValues): string {
  const { amounts, ids: named } = values.get('resource.allocations.devices');
  return [...Object.keys(amounts), ...Object.keys(named)].sort().join(', ');
}

const devicesClaimedTwice: Check = {
  needs: ['resource.allocation-mode'],
  *run(context) {
    const owner = new Map<string, EffectiveValues>();
    for (const values of allocated(context))
      for (const [device, claimed, path] of claimsOf(values))
        for (const id of claimed) {
          const name = `${device}\0${id}`;
          const other = owner.get(name);
          if (other)
            yield {
              ...values.place(path),
              message: `${device} device "${id}" is claimed twice: also by agent ${nameOf(other)}`,
            };
          else owner.set(name, values);
        }
  },
};

function* claimsOf(values: EffectiveValues) {
  const cpu = values.get('resource.allocations.cpu');
  if (cpu.ids !== null) yield ['cpu', cpu.ids, 'resource.allocations.cpu'] as const;
  for (const [device, claimed] of Object.entries(values.get('resource.allocations.devices').ids))
    yield [device, claimed, 'resource.allocations.devices'] as const;
}

const nameOf = (values: EffectiveValues): string =>
  (values.has('agent.id') ? values.get('agent.id') : null) ?? 'without id';

/** Rules about agents, alone and beside each other. */
export const AGENT_CHECKS: readonly Check[] = [
  ids,
  privileges,
  nfsScratches,
  owners,
  allocationMode,
  sameSlots,
  devicesClaimedTwice,
];
