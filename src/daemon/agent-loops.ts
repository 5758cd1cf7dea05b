import type { HostedAgent } from '../agent/hosted-agent.js';
import type { AgentConfig, DaemonConfig } from '../config/index.js';
import { systemClock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Metrics } from '../core/metrics.js';
import type { EventSink } from '../events/catalogue.js';
import { ErrorReports } from '../events/error-reports.js';
import { findOrphans } from '../kernels/orphans.js';
import { Rounds } from '../stats/index.js';
import type { RedisConnections } from '../stores/redis-connections.js';
import { RedisContainerCount } from '../stores/redis-container-count.js';
import { RedisKernelPresence } from '../stores/redis-kernel-presence.js';

interface LoopParts {
  readonly config: DaemonConfig;
  readonly agent: { readonly id: AgentId; readonly config: AgentConfig };
  readonly hosted: HostedAgent;
  readonly events: EventSink;
  /** Null with the local event bus: then nobody asks for the presence of kernels. */
  readonly redis: RedisConnections | null;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** The shortest pace of the comparison; an interval of 0 in the file must not keep the machine busy. */
const SYNC_FLOOR_MS = 1000;
/** spec/events-and-stores.md 5.8 */
const PRESENCE_MS = 60_000;
const ORPHANS_MS = 300_000;

/** What one agent looks after by itself, again and again, until it is stopped (spec/kernel-lifecycle.md 5). */
export function startAgentLoops(parts: LoopParts): { stop(): Promise<void> } {
  const rounds = [...lifecycleSync(parts), ...kernelPresence(parts)];
  return {
    stop: async () => {
      await Promise.all(rounds.map((round) => round.stop()));
    },
  };
}

function lifecycleSync({ agent, hosted, events, redis, logger, metrics }: LoopParts): readonly Rounds[] {
  const { enabled, intervalMs } = agent.config.syncContainerLifecycles;
  if (!enabled) return [];
  const count = syncCounter(metrics, agent.id);
  const errors = new ErrorReports({ agentId: agent.id, events, logger });
  // Opens the connection, so that the first round finds one.
  redis?.client('statistics');
  const containers = redis && new RedisContainerCount(() => redis.client('statistics'));
  return [
    new Rounds({
      name: 'comparison of containers and kernels',
      intervalMs: Math.max(intervalMs, SYNC_FLOOR_MS),
      round: async () => {
        const { activeContainers } = await hosted.compareWithBackend();
        // The connection has said that it is away, and the next round counts anew.
        await containers?.put(agent.id, activeContainers).catch((error: unknown) => {
          logger.debug('the count of containers is not told', { error: messageOf(error) });
        });
      },
      onRound: ({ error }) => {
        count(error);
        errors.note('the containers cannot be compared with the kernels of the agent', error);
      },
      clock: systemClock,
      logger: logger.child({ agentId: agent.id }),
    }),
  ];
}

function syncCounter(metrics: Metrics, agentId: AgentId): (error: string | null) => void {
  const triggered = metrics.counter({
    name: 'backendai_sync_container_lifecycle_trigger_count_total',
    help: 'Comparisons of containers with the kernel registry.',
    labels: ['agent_id'],
  });
  const succeeded = metrics.counter({
    name: 'backendai_sync_container_lifecycle_success_count_total',
    help: 'Comparisons of containers with the kernel registry that came to an end.',
    labels: ['agent_id'],
  });
  const failed = metrics.counter({
    name: 'backendai_sync_container_lifecycle_failure_count_total',
    help: 'Comparisons of containers with the kernel registry that failed, by the name of the error.',
    labels: ['agent_id', 'exception'],
  });
  return (error) => {
    triggered.increment({ agent_id: agentId });
    if (error === null) succeeded.increment({ agent_id: agentId });
    else failed.increment({ agent_id: agentId, exception: error });
  };
}

/** 25.17 managers are told by `agent_status_heartbeat` instead. */
function kernelPresence({ config, agent, hosted, redis, logger }: LoopParts): readonly Rounds[] {
  if (!redis || config.managerVersion === '25.17') return [];
  // Opens the connection, so that the first round finds one.
  redis.client('live');
  const presence = new RedisKernelPresence(() => redis.client('live'));
  const running = () =>
    [...hosted.kernels].flatMap(({ id, state, containerId }) =>
      state.name === 'running' && containerId !== null ? [id] : [],
    );
  const common = { clock: systemClock, logger: logger.child({ agentId: agent.id }) };
  return [
    new Rounds({
      ...common,
      name: 'presence of kernels',
      intervalMs: PRESENCE_MS,
      round: () => presence.report(running()),
    }),
    new Rounds({
      ...common,
      name: 'search for kernels that the manager does not know',
      intervalMs: ORPHANS_MS,
      round: async () => {
        const lastCheckSec = await presence.agentLastCheckSec(agent.id);
        const kernels = running();
        if (lastCheckSec === null || kernels.length === 0) return;
        const orphans = findOrphans(kernels, lastCheckSec, await presence.lastChecksSec(kernels));
        if (orphans.length === 0) return;
        common.logger.warn('kernels that the manager does not know any more are ended', { kernels: orphans });
        await hosted.dropKernelRegistry(orphans);
      },
    }),
  ];
}
