import type { KernelHandle } from '../../backends/backend.js';
import { within } from '../../core/async.js';
import { messageOf } from '../../core/errors.js';
import type { LifecycleParts } from './parts.js';
import { TIME_LIMITS } from './time-limits.js';

/**
 * Hands over what the container has written and tells the manager where it is (spec/kernel-lifecycle.md 3.8). The
 * container must be there still. Never rejects and never takes longer than its limit: a kernel ends without its logs
 * rather than not at all. The manager is not told of logs that are incomplete.
 */
export async function collectLogs(
  parts: Pick<LifecycleParts, 'agentId' | 'backend' | 'events' | 'logger' | 'logs'>,
  handle: KernelHandle,
): Promise<void> {
  const { agentId, backend, events, logger, logs } = parts;
  if (!logs) return;
  const { kernelId, containerId } = handle;
  const collect = async () => {
    const bytes = await backend.logs(handle, { maxBytes: logs.maxBytes });
    if (bytes.length === 0) return;
    const outcome = await logs.store({ agentId, kernelId, containerId }, chunksOf(bytes, logs.chunkBytes));
    if (outcome === 'kept') return;
    await events.publish(agentId, { name: 'do_sync_kernel_logs', kernelId, containerId });
  };
  try {
    await within(collect(), {
      timeoutMs: TIME_LIMITS.logsMs,
      what: `collecting the logs of container ${containerId}`,
    });
  } catch (error) {
    logger.warn('a kernel ends without its logs', { kernelId, containerId, error: messageOf(error) });
  }
}

/** Pieces of exactly the given size, the rest as the last one. */
export function chunksOf(bytes: Uint8Array, chunkBytes: number): readonly Uint8Array[] {
  const count = Math.ceil(bytes.length / chunkBytes);
  return Array.from({ length: count }, (_, index) =>
    bytes.subarray(index * chunkBytes, (index + 1) * chunkBytes),
  );
}
