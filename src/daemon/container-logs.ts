import type { DaemonConfig } from '../config/index.js';
import { systemClock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { Metrics } from '../core/metrics.js';
import type { EventSink } from '../events/catalogue.js';
import { KeptLogs } from '../kernels/kept-logs.js';
import type { StateDirectory } from '../runtime/state-directory.js';
import { RedisContainerLogs } from '../stores/redis-container-logs.js';
import type { RedisConnections } from '../stores/redis-connections.js';

/**
 * Where the logs of ended kernels of all agents go: Redis, over the disk while it is away.
 * @throws the system's error for a directory that cannot be used.
 */
export function openContainerLogs(parts: {
  readonly config: DaemonConfig;
  readonly state: StateDirectory;
  readonly events: EventSink;
  readonly redis: RedisConnections;
  readonly logger: Logger;
  readonly metrics: Metrics;
}): Promise<KeptLogs> {
  const { config, state, events, redis, logger, metrics } = parts;
  const { chunkBytes, maxLengthBytes: maxBytes } = config.containerLogs;
  // Opens the connection, so that the first end of a kernel finds one.
  redis.client('container_log');
  return KeptLogs.open({
    directory: state.layout.keptLogsDirectory,
    limits: config.keptLogs,
    store: new RedisContainerLogs({ client: () => redis.client('container_log'), chunkBytes, maxBytes }),
    events,
    clock: systemClock,
    logger,
    metrics,
  });
}
