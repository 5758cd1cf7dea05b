import type { Clock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { type GaugeSeries, gaugeSeries, type Metrics } from '../core/metrics.js';
import type { AgentEtcdView } from '../stores/agent-etcd-view.js';
import { STORE_UP } from '../stores/store-up.js';

export type NodeStatus = 'starting' | 'running';

interface RegistrationParts {
  readonly views: readonly { readonly id: AgentId; readonly view: AgentEtcdView }[];
  /** Host part of the RPC listen address. */
  readonly host: string;
  readonly watcherPort: number | null;
  /** Null: a store that nobody else can empty, so it is not looked after. */
  readonly checkIntervalMs: number | null;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const RETRY_FIRST_MS = 1000;

/**
 * What each agent writes about itself into the store (spec/events-and-stores.md 1.5). Managers read it only to find
 * the watcher, so a store that is away delays nobody. From the first `announce` on, the store is looked at from time to
 * time: what a store that came back empty, or was away or full, does not hold is written again.
 */
export class Registration {
  readonly #parts: RegistrationParts;
  readonly #up: GaugeSeries | null;
  readonly #stop = new AbortController();
  #status: NodeStatus = 'starting';
  #failure: string | null = null;
  #sinceMs: number | null = null;
  #loop: Promise<void> | undefined;

  constructor(parts: RegistrationParts) {
    this.#parts = parts;
    this.#up =
      parts.checkIntervalMs === null
        ? null
        : gaugeSeries(parts.metrics.gauge(STORE_UP), { store: 'etcd', role: '' });
  }

  /** Why the store does not answer or does not take what it should hold; null when it does. */
  get failure(): string | null {
    return this.#failure;
  }

  /** Since when the store is as it is now; null before it was first asked. Milliseconds since the epoch. */
  get sinceMs(): number | null {
    return this.#sinceMs;
  }

  async announce(status: NodeStatus): Promise<void> {
    this.#status = status;
    await this.#round(() => this.#write());
    if (this.#parts.checkIntervalMs !== null) this.#loop ??= this.#lookAfter(this.#parts.checkIntervalMs);
  }

  /** Nothing is written or deleted: records of nodes that are down are normal. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the registration closes'));
    await this.#loop;
  }

  async #lookAfter(intervalMs: number): Promise<void> {
    const { signal } = this.#stop;
    let retryMs = RETRY_FIRST_MS;
    for (;;) {
      const waitMs = this.#failure === null ? intervalMs : Math.min(retryMs, intervalMs);
      retryMs = this.#failure === null ? RETRY_FIRST_MS : retryMs * 2;
      try {
        await this.#parts.clock.sleep(waitMs, signal);
      } catch {
        return;
      }
      await this.#round(() => this.#mend());
    }
  }

  /** Says once that it fails, and once that it works again. */
  async #round(work: () => Promise<void>): Promise<void> {
    const { logger } = this.#parts;
    const status = this.#status;
    try {
      await work();
      if (this.#failure !== null) this.#sinceMs = null;
      this.#sinceMs ??= this.#parts.clock.nowMs();
      if (this.#failure !== null) logger.info('the store is well again', { status });
      this.#failure = null;
      this.#up?.set(1);
    } catch (error) {
      if (this.#failure === null) this.#sinceMs = this.#parts.clock.nowMs();
      if (this.#failure === null)
        logger.warn('the store does not take the status of the agents; trying on', {
          status,
          error: messageOf(error),
        });
      this.#failure = messageOf(error);
      this.#up?.set(0);
    }
  }

  async #write(): Promise<void> {
    for (const { view } of this.#parts.views)
      for (const [key, value] of this.#wanted()) await view.put(key, value, 'node');
  }

  async #mend(): Promise<void> {
    for (const { id, view } of this.#parts.views)
      for (const [key, value] of this.#wanted()) {
        if ((await view.getOwn(key)) === value) continue;
        await view.put(key, value, 'node');
        this.#parts.logger.warn('the store had lost what an agent wrote; written again', {
          agentId: id,
          key,
        });
      }
  }

  /** In the order of the original. The key of the node itself is empty: it ends in a slash. */
  #wanted(): readonly (readonly [key: string, value: string])[] {
    const { host, watcherPort } = this.#parts;
    if (this.#status === 'starting') return [['', 'starting']];
    return [
      ['ip', host],
      ...(watcherPort === null ? [] : [['watcher_port', String(watcherPort)] as const]),
      ['', 'running'],
    ];
  }
}
