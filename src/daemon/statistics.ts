import type { KernelBackend } from '../backends/backend.js';
import { createCodec } from '../codec/index.js';
import type { AgentConfig, DaemonConfig, MetricSchedule } from '../config/index.js';
import { systemClock } from '../core/clock.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Metrics } from '../core/metrics.js';
import type { EventSink } from '../events/catalogue.js';
import { ErrorReports } from '../events/error-reports.js';
import type { KernelRegistry } from '../kernels/kernel-registry.js';
import type { NodeResources } from '../resources/index.js';
import { type Measuring, runningKernels } from './measuring.js';
import {
  KernelStatistics,
  NodeStatistics,
  ProcessStatistics,
  Rounds,
  slotMetadata,
  UtilizationGauges,
} from '../stats/index.js';
import type { RedisConnections } from '../stores/redis-connections.js';
import { RedisStatistics, type StatisticsLifetimes } from '../stores/redis-statistics.js';

interface StatisticsParts {
  readonly config: DaemonConfig;
  readonly agent: { readonly id: AgentId; readonly config: AgentConfig };
  readonly kernels: KernelRegistry;
  readonly backend: KernelBackend;
  readonly resources: NodeResources;
  readonly measuring: Measuring;
  readonly events: EventSink;
  /** Null: only the gauges of `/metrics`. */
  readonly redis: RedisConnections | null;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const METADATA_RETRY_MS = 5000;
/** In case somebody has emptied Redis without restarting it. */
const METADATA_REFRESH_MS = 300_000;

/** Measures and publishes what one agent's node and kernels use, until it is stopped. */
export function startStatistics(parts: StatisticsParts): { stop(): Promise<void> } {
  const { agent, kernels, backend, resources, measuring, redis, metrics } = parts;
  const logger = parts.logger.child({ agentId: agent.id });
  const schedules = agent.config.utilizationMetric;
  const gauges = new UtilizationGauges(agent.id, metrics);
  const sink = redis ? redisSink(parts, redis) : null;
  const running = () => runningKernels(kernels);
  measuring.join(agent.id, kernels);
  const rounds: Rounds[] = [];
  const errors = new ErrorReports({ agentId: agent.id, events: parts.events, logger });
  const repeat = (name: string, scope: string, schedule: MetricSchedule, round: () => Promise<void>) => {
    if (!schedule.enabled) return;
    const { intervalMs } = schedule;
    const count = roundCounter(metrics, agent.id, scope);
    const onRound = (outcome: Parameters<typeof count>[0]) => {
      count(outcome);
      errors.note(`${name} cannot be taken`, outcome.error);
    };
    rounds.push(new Rounds({ name, intervalMs, onGrid: true, round, onRound, clock: systemClock, logger }));
  };

  const node = new NodeStatistics({
    agentId: agent.id,
    read: () => measuring.node(schedules.node.intervalMs),
    measuresOf: (measured) => resources.measuresOf(agent.id, measured),
    scalingFactor: (slot) => resources.forAgent(agent.id).scalingFactor(slot),
    gauges,
    sink,
  });
  repeat('statistics of the node', 'node', schedules.node, () => node.collect());
  if (backend.usageSources) {
    const read = () => measuring.kernels(schedules.container.intervalMs);
    const container = new KernelStatistics({ running, read, gauges, sink });
    repeat('statistics of kernels', 'container', schedules.container, () => container.collect());
  }
  if (sink && redis) {
    if (backend.usageSources) {
      const read = () => measuring.kernels(schedules.process.intervalMs);
      const process = new ProcessStatistics({ running, read, sink });
      repeat('statistics of processes', 'process', schedules.process, () => process.collect());
    }
    rounds.push(publishMetadata(sink, redis, resources, logger));
  }
  return {
    stop: async () => {
      await Promise.all(rounds.map((round) => round.stop()));
      measuring.leave(agent.id);
    },
  };
}

/** As soon as Redis takes it, and again whenever it may have forgotten it. */
function publishMetadata(
  sink: RedisStatistics,
  redis: RedisConnections,
  resources: NodeResources,
  logger: Logger,
): Rounds {
  let writtenIn: number | null = null;
  let writtenAtMs = 0;
  return new Rounds({
    name: 'descriptions of slots',
    intervalMs: METADATA_RETRY_MS,
    round: async () => {
      const connection = redis.openings('statistics');
      const nowMs = systemClock.monotonicMs();
      if (writtenIn === connection && nowMs - writtenAtMs < METADATA_REFRESH_MS) return;
      await sink.metadata(slotMetadata(resources.slotDescriptions()));
      writtenIn = connection;
      writtenAtMs = nowMs;
    },
    clock: systemClock,
    logger,
  });
}

function redisSink({ config, agent }: StatisticsParts, redis: RedisConnections): RedisStatistics {
  // Opens the connection, so that the first round finds one.
  redis.client('statistics');
  const codec = createCodec({ dialect: config.managerVersion === '25.17' ? '25.17' : '26.8' });
  return new RedisStatistics({
    client: () => redis.client('statistics'),
    pack: (value) => codec.pack(value),
    lifetimes: lifetimesOf(config, agent.config),
  });
}

/** Four rounds from 26.8 on; before that fixed, as long as the pace is the usual one. */
function lifetimesOf(config: DaemonConfig, { utilizationMetric }: AgentConfig): StatisticsLifetimes {
  const rounds = ({ intervalMs }: MetricSchedule, count: number) => Math.ceil((intervalMs * count) / 1000);
  const { node, process } = utilizationMetric;
  return config.managerVersion === '25.17'
    ? { nodeSec: Math.max(120, rounds(node, 4)), processSec: Math.max(8, rounds(process, 1.6)) }
    : { nodeSec: rounds(node, 4), processSec: rounds(process, 4) };
}

function roundCounter(metrics: Metrics, agentId: AgentId, scope: string) {
  const labels = { agent_id: agentId, stat_scope: scope };
  const triggered = metrics.counter({
    name: 'backendai_stat_task_trigger_count_total',
    help: 'Rounds of measuring.',
    labels: ['agent_id', 'stat_scope'],
  });
  const succeeded = metrics.counter({
    name: 'backendai_stat_task_success_count_total',
    help: 'Rounds of measuring that were published.',
    labels: ['agent_id', 'stat_scope'],
  });
  const failed = metrics.counter({
    name: 'backendai_stat_task_failure_count_total',
    help: 'Rounds of measuring that were lost, by the name of the error.',
    labels: ['agent_id', 'stat_scope', 'exception'],
  });
  const seconds = metrics.histogram({
    name: 'backendai_stat_task_duration_sec',
    help: 'How long rounds of measuring took, in seconds.',
    labels: ['agent_id', 'stat_scope'],
    buckets: [0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600],
  });
  return ({ error, durationMs }: { readonly error: string | null; readonly durationMs: number }): void => {
    triggered.increment(labels);
    seconds.observe(durationMs / 1000, labels);
    if (error === null) succeeded.increment(labels);
    else failed.increment({ ...labels, exception: error });
  };
}
