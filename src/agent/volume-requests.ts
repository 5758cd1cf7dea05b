import { messageOf, nameOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Counter, Histogram, Metrics } from '../core/metrics.js';
import type { Clock } from '../core/clock.js';
import type { EventSink } from '../events/catalogue.js';
import type { VolumeRequest } from '../events/volume-requests.js';
import type { VolumeMounts } from './volume-mounts.js';

interface VolumeRequestParts {
  /** Those that answer; the work is done once for all of them. */
  readonly agentIds: readonly AgentId[];
  /** Asked for each request. Null: a storage proxy on this machine does it, and requests are only acknowledged. */
  readonly mounts: (() => Promise<VolumeMounts>) | null;
  /** Limit of unmounting, asked each time. */
  readonly unmountTimeoutMs: () => Promise<number>;
  /** @throws for a volume request that cannot be read; null for what is none. */
  readonly parse: (message: string) => VolumeRequest | null;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/**
 * Answers what managers or storage proxies ask of all nodes about volumes (spec/events-and-stores.md 3.8), one request
 * after the other.
 */
export class VolumeRequests {
  readonly #parts: VolumeRequestParts;
  readonly #handled: Counter;
  readonly #failed: Counter;
  readonly #durations: Histogram;
  #tail: Promise<void> = Promise.resolve();

  constructor(parts: VolumeRequestParts) {
    this.#parts = parts;
    const { metrics } = parts;
    this.#handled = metrics.counter({
      name: 'backendai_event_count_total',
      help: 'Events from outside that were handled.',
      labels: ['event_type'],
    });
    this.#failed = metrics.counter({
      name: 'backendai_event_failure_count_total',
      help: 'Events from outside whose handling failed.',
      labels: ['event_type', 'exception', 'domain', 'operation', 'error_detail'],
    });
    this.#durations = metrics.histogram({
      name: 'backendai_event_processing_time_sec',
      help: 'Seconds that the handling of events from outside took.',
      labels: ['event_type', 'status', 'domain', 'operation', 'error_detail'],
      buckets: [0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 30],
    });
  }

  /** A message of the broadcast channel; what is no volume request is passed over. */
  readonly hear = (message: string): void => {
    let request: VolumeRequest | null;
    try {
      request = this.#parts.parse(message);
    } catch (error) {
      this.#parts.logger.warn('a volume request cannot be read', { error: messageOf(error) });
      return;
    }
    if (!request) return;
    const asked = request;
    this.#tail = this.#tail.then(() => this.#handle(asked));
  };

  /** Resolves when everything that was heard is answered. */
  idle(): Promise<void> {
    return this.#tail;
  }

  async #handle(request: VolumeRequest): Promise<void> {
    const { agentIds, mounts, events, clock, logger } = this.#parts;
    const { name, directory, quotaScopeId } = request;
    const startedMs = clock.monotonicMs();
    let mountPath = '';
    let failure: unknown = null;
    if (mounts)
      try {
        mountPath = directory;
        const volumes = await mounts();
        mountPath = volumes.pathOf(directory);
        if (name === 'do_volume_mount') await volumes.mount(request);
        else await volumes.unmount(request, await this.#parts.unmountTimeoutMs());
        logger.info('volume request done', { request: name, mountPath });
      } catch (error) {
        failure = error;
        logger.error('volume request failed', { request: name, mountPath, error: messageOf(error) });
      }
    this.#count(name, failure, clock.monotonicMs() - startedMs);
    const answer = {
      name: name === 'do_volume_mount' ? 'volume_mounted' : 'volume_unmounted',
      mountPath,
      quotaScopeId,
      errorMessage: failure === null ? null : messageOf(failure),
    } as const;
    for (const agentId of agentIds)
      await events.publish(agentId, answer).catch((error: unknown) => {
        logger.error('a volume request could not be answered', { agentId, error: messageOf(error) });
      });
  }

  #count(name: VolumeRequest['name'], failure: unknown, durationMs: number): void {
    const labels = { domain: 'volume', operation: 'handle', error_detail: failure === null ? '' : 'failed' };
    this.#handled.increment({ event_type: name });
    if (failure !== null)
      this.#failed.increment({
        ...labels,
        event_type: name,
        exception: nameOf(failure),
      });
    this.#durations.observe(durationMs / 1000, {
      ...labels,
      event_type: name,
      status: failure === null ? 'success' : 'failure',
    });
  }
}
