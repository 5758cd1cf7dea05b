import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { NodeResources } from '../resources/index.js';
import { Rounds } from '../stats/index.js';

/** spec/config-and-resources.md 3: one loop of the process for all its agents. */
const INTERVAL_MS = 30_000;

/**
 * Looks again and again for devices that came or went, so that the next heartbeat of each agent tells what there is.
 * Kernels keep what they have; a plugin that fails or hangs counts with what it found last.
 */
export function startCapacityScan(parts: {
  readonly resources: Pick<NodeResources, 'rescan'>;
  readonly clock: Clock;
  readonly logger: Logger;
}): { stop(): Promise<void> } {
  const { resources, clock, logger } = parts;
  return new Rounds({
    name: 're-scan of devices',
    intervalMs: INTERVAL_MS,
    // The start has just looked.
    firstPauseMs: INTERVAL_MS,
    round: async () => {
      await resources.rescan();
    },
    clock,
    logger,
  });
}
