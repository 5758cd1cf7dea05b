import type { Clock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Counter, Gauge, Metrics } from '../core/metrics.js';
import type { AgentEvent, EventSink } from './catalogue.js';
import type { EventEncoder, StreamField } from './event-encoder.js';
import type { EventTransport } from './event-transport.js';
import type { OutboxLog } from './outbox-log.js';
import { EVENT_KINDS, type Importance } from './wire/delivery.js';

export interface OutboxEntry {
  /** Counts up; also across restarts of the daemon. */
  readonly id: number;
  readonly createdAtMs: number;
  readonly importance: Importance;
  readonly name: string;
  readonly source: string;
  readonly anycast: readonly StreamField[] | null;
  readonly broadcast: string | null;
  readonly cacheKey: string | null;
}

export interface OutboxLimits {
  readonly maxEvents: number;
  readonly maxBytes: number;
  readonly maxAgeMs: number;
}

interface OutboxParts {
  readonly encoder: EventEncoder;
  readonly transport: EventTransport;
  readonly log: OutboxLog;
  /** What an earlier process left, from `OutboxLog.open`. */
  readonly entries: readonly OutboxEntry[];
  readonly limits: OutboxLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const RETRY_MS = { first: 100, most: 5000 } as const;

/** Each tells all that there is to tell: one that still waits is worthless once the next one is there. */
const REPLACEABLE: ReadonlySet<string> = new Set(['agent_heartbeat', 'agent_status_heartbeat']);

/**
 * The way out for events: lifecycle events are on disk before `publish` resolves, everything leaves in the order in
 * which it came, and a manager's store that is away only delays (design, decision 9). A report (heartbeat, progress)
 * lives in memory alone: the next one replaces it. At a bound, reports go first; a lifecycle event that must go is
 * counted and logged, each by name.
 */
export class Outbox implements EventSink {
  readonly #parts: OutboxParts;
  readonly #queue: OutboxEntry[];
  readonly #dropped: Counter;
  readonly #delivered: Counter;
  readonly #length: Gauge;
  readonly #stop = new AbortController();
  #bytes: number;
  #lastId: number;
  #delivering: Promise<void> | undefined;

  constructor(parts: OutboxParts) {
    this.#parts = parts;
    this.#queue = [...parts.entries];
    this.#bytes = this.#queue.reduce((sum, entry) => sum + sizeOf(entry), 0);
    this.#lastId = this.#queue.reduce((highest, { id }) => Math.max(highest, id), 0);
    this.#dropped = parts.metrics.counter({
      name: 'splenium_outbox_dropped_total',
      help: 'Events given up because the outbox was full or they were too old.',
      labels: ['event', 'importance'],
    });
    this.#delivered = parts.metrics.counter({
      name: 'splenium_outbox_delivered_total',
      help: 'Events taken over by the event store.',
      labels: ['event'],
    });
    this.#length = parts.metrics.gauge({
      name: 'splenium_outbox_events',
      help: 'Events that wait to be delivered.',
    });
    this.#length.set(this.#queue.length);
    if (this.#queue.length > 0) this.#wake();
  }

  get length(): number {
    return this.#queue.length;
  }

  async publish(source: AgentId, event: AgentEvent): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const encoded = this.#parts.encoder.encode(source, event);
    if (!encoded) return;
    this.#lastId += 1;
    const { importance } = EVENT_KINDS[event.name];
    const entry: OutboxEntry = {
      id: this.#lastId,
      createdAtMs: this.#parts.clock.nowMs(),
      importance,
      name: event.name,
      source,
      anycast: encoded.anycast,
      broadcast: encoded.broadcast,
      cacheKey: encoded.cacheKey,
    };
    if (REPLACEABLE.has(event.name)) await this.#removeWaiting(entry);
    this.#queue.push(entry);
    this.#bytes += sizeOf(entry);
    this.#enforceLimits();
    this.#length.set(this.#queue.length);
    try {
      if (importance === 'lifecycle') await this.#parts.log.put(entry);
    } catch {
      // A full disk must not stop kernels; the event still leaves from memory, and the log has said so.
    }
    this.#wake();
  }

  /** Resolves once everything queued has left, or the time is up; what is left stays on disk. */
  async close(flushMs: number): Promise<void> {
    const timer = setTimeout(() => {
      this.#stop.abort(new Error('the outbox closes'));
    }, flushMs);
    await this.#delivering;
    clearTimeout(timer);
    this.#stop.abort(new Error('the outbox closes'));
    await this.#parts.log.close();
  }

  #wake(): void {
    this.#delivering ??= this.#deliverAll().finally(() => {
      this.#delivering = undefined;
      if (this.#queue.length > 0 && !this.#stop.signal.aborted) this.#wake();
    });
  }

  async #deliverAll(): Promise<void> {
    let retryMs: number = RETRY_MS.first;
    /** The entry whose anycast half has arrived: only its broadcast half is repeated. */
    let halfDelivered = 0;
    for (let entry = this.#queue[0]; entry; entry = this.#queue[0]) {
      if (this.#stop.signal.aborted) return;
      try {
        if (entry.anycast && halfDelivered !== entry.id) {
          await this.#parts.transport.anycast(entry.anycast);
          halfDelivered = entry.id;
        }
        if (entry.broadcast !== null) await this.#parts.transport.broadcast(entry.broadcast, entry.cacheKey);
      } catch (error) {
        if (retryMs === RETRY_MS.first)
          this.#parts.logger.warn('events cannot be delivered; trying on', {
            waiting: this.#queue.length,
            error: messageOf(error),
          });
        await this.#parts.clock.sleep(retryMs, this.#stop.signal).catch(() => undefined);
        retryMs = Math.min(retryMs * 2, RETRY_MS.most);
        this.#enforceLimits();
        continue;
      }
      if (retryMs !== RETRY_MS.first) this.#parts.logger.info('events are delivered again');
      retryMs = RETRY_MS.first;
      this.#delivered.increment({ event: entry.name });
      await this.#remove(entry);
    }
  }

  async #remove(entry: OutboxEntry): Promise<void> {
    const index = this.#queue.indexOf(entry);
    // The limits may have removed it while it was on its way.
    if (index < 0) return;
    this.#queue.splice(index, 1);
    this.#bytes -= sizeOf(entry);
    this.#length.set(this.#queue.length);
    if (entry.importance !== 'lifecycle') return;
    const { log } = this.#parts;
    await log.done(entry.id).catch(() => undefined);
    if (log.wantsRewrite)
      await log
        .rewrite(this.#queue.filter(({ importance }) => importance === 'lifecycle'))
        .catch(() => undefined);
  }

  /** The first of the queue may be on its way already. */
  async #removeWaiting({ name, source }: OutboxEntry): Promise<void> {
    for (const waiting of this.#queue.slice(1))
      if (waiting.name === name && waiting.source === source) await this.#remove(waiting);
  }

  #enforceLimits(): void {
    const { maxEvents, maxBytes, maxAgeMs } = this.#parts.limits;
    const oldest = this.#parts.clock.nowMs() - maxAgeMs;
    for (const entry of this.#queue.filter(({ createdAtMs }) => createdAtMs < oldest))
      this.#drop(entry, 'age');
    while (this.#queue.length > maxEvents || this.#bytes > maxBytes) {
      const victim = this.#queue.find(({ importance }) => importance === 'report') ?? this.#queue[0];
      if (!victim) return;
      this.#drop(victim, 'size');
    }
  }

  #drop(entry: OutboxEntry, bound: 'age' | 'size'): void {
    const { name, source, importance } = entry;
    this.#dropped.increment({ event: name, importance });
    if (importance === 'lifecycle')
      this.#parts.logger.error(
        'a lifecycle event is given up: raise the outbox limits or mend the event store',
        {
          event: name,
          agentId: source,
          bound,
        },
      );
    void this.#remove(entry);
  }
}

const sizeOf = ({ anycast, broadcast }: OutboxEntry): number =>
  (anycast?.reduce((sum, [name, value]) => sum + name.length + value.length, 0) ?? 0) +
  (broadcast?.length ?? 0);
