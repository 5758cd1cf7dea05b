import { AbuseReports } from '../agent/abuse-reports.js';
import type { LockHolders } from '../agent/commit-locks.js';
import type { HostedAgent } from '../agent/hosted-agent.js';
import type { DaemonConfig } from '../config/index.js';
import { type Clock, systemClock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { IdentifiedAgent } from './agents.js';
import type { AgentRuntime } from '../runtime/agent-runtime.js';
import { identifyProcess, sameProcess } from '../runtime/process-identity.js';
import { Rounds } from '../stats/index.js';
import { RedisAbuseReports } from '../stores/redis-abuse-reports.js';
import { RedisCommitStatus } from '../stores/redis-commit-status.js';
import type { RedisConnections } from '../stores/redis-connections.js';

const COMMIT_INTERVAL_MS = 7000;
const ABUSE_INTERVAL_MS = 30_000;

export interface RunningReports {
  stop(): Promise<void>;
}

/** By which lock files of commits are told from those that were left behind. */
export async function lockHolders(): Promise<LockHolders> {
  return {
    self: (await identifyProcess(process.pid)) ?? { pid: process.pid, start: null },
    isAlive: async (holder) => {
      const now = await identifyProcess(holder.pid);
      return now !== null && sameProcess(holder, now);
    },
  };
}

/** Tells managers which kernels of an agent are being committed (spec/kernel-lifecycle.md 5.9). */
export function startCommitReports(parts: {
  readonly hosted: Pick<HostedAgent, 'committing'>;
  /** Null: nobody can be told. */
  readonly redis: RedisConnections | null;
  /** Default: the system's. */
  readonly clock?: Clock;
  readonly logger: Logger;
}): RunningReports {
  const { hosted, redis, clock = systemClock, logger } = parts;
  if (redis === null) return { stop: () => Promise.resolve() };
  // Opens the connection, so that the first round finds one.
  redis.client('statistics');
  const status = new RedisCommitStatus(() => redis.client('statistics'));
  return new Rounds({
    name: 'state of commits',
    intervalMs: COMMIT_INTERVAL_MS,
    round: () => status.ongoing(hosted.committing),
    clock,
    logger,
  });
}

/**
 * Looks for abuse reports where the configuration names a place for them, once for all agents
 * (spec/kernel-lifecycle.md 5.8).
 */
export function startAbuseReports(parts: {
  readonly config: DaemonConfig;
  readonly agents: readonly IdentifiedAgent[];
  readonly runtime: AgentRuntime;
  /** Null: kernels are ended, and nobody is told. */
  readonly redis: RedisConnections | null;
  readonly logger: Logger;
}): RunningReports {
  const { config, runtime, redis, logger } = parts;
  if (config.abuseReportPath === null) return { stop: () => Promise.resolve() };
  const forced = new Set(
    parts.agents.flatMap((one) => (one.config.forceTerminateAbusingContainers ? [one.id] : [])),
  );
  redis?.client('statistics');
  const store = redis && new RedisAbuseReports(() => redis.client('statistics'));
  const reports = new AbuseReports({
    directory: config.abuseReportPath,
    agents: () => runtime.listAgents().map((agent) => ({ agent, isForced: forced.has(agent.id) })),
    publish: async (states) => store?.replace(states),
    logger,
  });
  return new Rounds({
    name: 'abuse reports',
    intervalMs: ABUSE_INTERVAL_MS,
    round: () => reports.round(),
    clock: systemClock,
    logger,
  });
}
