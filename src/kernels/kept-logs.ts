import { within } from '../core/async.js';
import type { Clock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import type { AgentId, ContainerId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Counter, Gauge, Metrics } from '../core/metrics.js';
import type { EventSink } from '../events/catalogue.js';
import { chunksOf } from './lifecycle/collect-logs.js';
import type { KernelLogs, LogOwner } from './lifecycle/parts.js';
import { type LogLoss, LogShelf, type LogShelfLimits, type ShelvedLog } from './log-shelf.js';

/** Where managers look for logs; implemented by `stores/redis-container-logs`. */
export interface LogStore {
  readonly chunkBytes: number;
  readonly maxBytes: number;
  /** Replaces what lies there. Rejects when it is not certain that all chunks are stored. */
  store(containerId: ContainerId, chunks: readonly Uint8Array[]): Promise<void>;
}

interface KeptLogsParts {
  readonly directory: string;
  readonly limits: LogShelfLimits;
  readonly store: LogStore;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Between two attempts while the store is away. */
const RETRY_MS = 5000;
/** An attempt that runs when the daemon stops; the log is still on disk. */
const CLOSE_MS = 2000;

/**
 * Hands the logs of ended kernels over to where managers look for them. While the store is away they lie on disk,
 * written before their container is removed, and leave when it is back, also from a later process. What must be given
 * up at a bound is counted and logged, each by name.
 */
export class KeptLogs implements KernelLogs {
  readonly #parts: KeptLogsParts;
  readonly #shelf: LogShelf;
  readonly #waiting: Gauge;
  readonly #stop = new AbortController();
  readonly #loop: Promise<void>;
  /** How often each could not be handed over: one that the store refuses must not hold up the others. */
  readonly #attempts = new WeakMap<ShelvedLog, number>();
  /** Agents that a gauge has told of. */
  readonly #agents = new Set<AgentId>();
  #isAway = false;

  private constructor(parts: KeptLogsParts, shelf: LogShelf) {
    this.#parts = parts;
    this.#shelf = shelf;
    this.#waiting = parts.metrics.gauge({
      name: 'splenium_kept_logs_bytes',
      help: 'Logs of ended kernels that wait on disk for their store, in bytes.',
      labels: ['agent'],
    });
    this.#showWaiting();
    this.#loop = this.#run();
  }

  /** Goes on with what an earlier process could not hand over. @throws the system's error. */
  static async open(parts: KeptLogsParts): Promise<KeptLogs> {
    const { directory, limits, logger, metrics } = parts;
    const lost: Counter = metrics.counter({
      name: 'splenium_kept_logs_dropped_total',
      help: 'Logs of ended kernels that were given up before a manager could have them, by reason.',
      labels: ['agent', 'reason'],
    });
    const onLoss = ({ agentId, kernelId, containerId, bytes, atMs }: ShelvedLog, reason: LogLoss) => {
      lost.increment({ agent: agentId, reason });
      const since = new Date(atMs).toISOString();
      logger.error('the log of an ended kernel is given up: its store was away for too long', {
        ...{ agentId, kernelId, containerId, bytes, since, reason },
      });
    };
    return new KeptLogs(parts, await LogShelf.open({ directory, limits, onLoss, logger }));
  }

  get chunkBytes(): number {
    return this.#parts.store.chunkBytes;
  }

  get maxBytes(): number {
    return this.#parts.store.maxBytes;
  }

  /** Rejects when neither the store nor the disk takes it. */
  async store(owner: LogOwner, chunks: readonly Uint8Array[]): Promise<'stored' | 'kept'> {
    const { store, clock, logger } = this.#parts;
    const { agentId, kernelId, containerId } = owner;
    // While others wait the store is away, and the end of a kernel need not find that out.
    if (!this.#isAway)
      try {
        await store.store(containerId, chunks);
        return 'stored';
      } catch (error) {
        logger.warn('the log of an ended kernel is kept on disk until its store takes it', {
          ...{ agentId, kernelId, containerId, error: messageOf(error) },
        });
        this.#isAway = true;
      }
    await this.#shelf.put(owner, Buffer.concat(chunks), clock.nowMs());
    this.#showWaiting();
    return 'kept';
  }

  /** What waits stays on disk. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the agent stops'));
    await within(this.#loop, { timeoutMs: CLOSE_MS, what: 'handing over a log' }).catch(() => undefined);
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#parts;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#handOver(signal);
      } catch (error) {
        logger.error('logs of ended kernels cannot be kept in order', { error: messageOf(error) });
      }
      await clock.sleep(RETRY_MS, signal).catch(() => undefined);
    }
  }

  /** One after the other, so that no more than one is in memory, until one is refused or none is left. */
  async #handOver(signal: AbortSignal): Promise<void> {
    const { store, events, clock, logger } = this.#parts;
    await this.#shelf.expire(clock.nowMs());
    this.#showWaiting();
    for (let log = this.#next(); log && !signal.aborted; log = this.#next()) {
      const { agentId, kernelId, containerId } = log;
      let content: Uint8Array;
      try {
        content = await this.#shelf.read(log);
      } catch {
        await this.#shelf.lose(log, 'unreadable');
        continue;
      }
      try {
        await store.store(containerId, chunksOf(content, store.chunkBytes));
        await events.publish(agentId, { name: 'do_sync_kernel_logs', kernelId, containerId });
      } catch (error) {
        this.#attempts.set(log, (this.#attempts.get(log) ?? 0) + 1);
        logger.debug('a kept log is not taken yet', { containerId, error: messageOf(error) });
        return;
      }
      await this.#shelf.remove(log);
      this.#showWaiting();
      logger.info('a kept log is where managers look for it', { agentId, kernelId, containerId });
    }
    this.#isAway = false;
  }

  /** The one that was refused least often, of these the oldest. */
  #next(): ShelvedLog | undefined {
    const attempts = (log: ShelvedLog) => this.#attempts.get(log) ?? 0;
    return this.#shelf.logs.reduce<ShelvedLog | undefined>(
      (best, log) => (best === undefined || attempts(log) < attempts(best) ? log : best),
      undefined,
    );
  }

  #showWaiting(): void {
    const bytes = new Map<AgentId, number>([...this.#agents].map((agentId) => [agentId, 0]));
    for (const log of this.#shelf.logs) bytes.set(log.agentId, (bytes.get(log.agentId) ?? 0) + log.bytes);
    for (const [agentId, sum] of bytes) {
      this.#agents.add(agentId);
      this.#waiting.set(sum, { agent: agentId });
    }
  }
}
