import { randomUUID } from 'node:crypto';
import { deferred, within } from '../core/async.js';
import type { Clock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Counter, Gauge, Metrics } from '../core/metrics.js';
import type { AgentEvent, EventSink } from './catalogue.js';
import type { EventEncoder, StreamField } from './event-encoder.js';
import { EventNotKeptError } from './errors.js';
import type { EventTransport } from './event-transport.js';
import type { OutboxLog } from './outbox-log.js';
import { EVENT_KINDS, type Importance } from './wire/delivery.js';

export interface OutboxEntry {
  /** Counts up; also across restarts of the daemon. */
  readonly id: number;
  /** `EventDelivery.token`. */
  readonly token: string;
  /** The occurrence that it tells of, where the publisher named it. */
  readonly occurrence: string | null;
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
  /** Occurrences that an earlier process has delivered, oldest first. */
  readonly delivered: readonly string[];
  readonly limits: OutboxLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const RETRY_MS = { first: 100, most: 5000 } as const;

/** How long the publisher of an event that the disk refuses waits for it to leave. */
const KEEP_WAIT_MS = 5000;

/** Delivered occurrences that are remembered: more than an agent's recovery can ask about. */
const REMEMBERED_OCCURRENCES = 10_000;

/** Each tells all that there is to tell: one that still waits is worthless once the next one is there. */
const REPLACEABLE: ReadonlySet<string> = new Set(['agent_heartbeat', 'agent_status_heartbeat']);

/** Not worth failing a start or a stop of the agent. */
const MAY_BE_LOST: ReadonlySet<string> = new Set(['agent_started', 'agent_terminated']);

/**
 * The way out for events: lifecycle events are on disk before `publish` resolves, everything leaves in the order in
 * which it came, and a manager's store that is away only delays (design, decision 9). A report (heartbeat, progress)
 * lives in memory alone: the next one replaces it. At a bound, reports go first; a lifecycle event that must go is
 * counted and logged, each by name.
 *
 * Where the disk refuses an event, `publish` waits until the store has it instead, and rejects if neither takes it.
 */
export class Outbox implements EventSink {
  readonly #parts: OutboxParts;
  readonly #queue: OutboxEntry[];
  readonly #dropped: Counter;
  readonly #delivered: Counter;
  readonly #length: Gauge;
  readonly #stop = new AbortController();
  /** Delivered occurrences, oldest first. */
  readonly #occurrences: Set<string>;
  /** Lifecycle entries that the disk has refused so far -> resolves once they need it no more. */
  readonly #unkept = new Map<OutboxEntry, { readonly promise: Promise<void>; resolve(): void }>();
  #failure: string | null = null;
  #bytes: number;
  #lastId: number;
  #delivering: Promise<void> | undefined;

  constructor(parts: OutboxParts) {
    this.#parts = parts;
    this.#queue = [...parts.entries];
    this.#occurrences = new Set(parts.delivered.slice(-REMEMBERED_OCCURRENCES));
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

  /** Why the event store takes nothing at present; null when it does. */
  get failure(): string | null {
    return this.#failure;
  }

  /** @throws EventNotKeptError when neither the disk nor the store takes a lifecycle event; it stays in memory. */
  async publish(source: AgentId, event: AgentEvent, occurrence?: string): Promise<void> {
    if (this.#stop.signal.aborted) return;
    if (occurrence !== undefined && this.#isKnown(occurrence)) return;
    const encoded = this.#parts.encoder.encode(source, event);
    if (!encoded) return;
    this.#lastId += 1;
    const { importance } = EVENT_KINDS[event.name];
    const entry: OutboxEntry = {
      id: this.#lastId,
      token: occurrence ?? randomUUID(),
      occurrence: occurrence ?? null,
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
    const kept = importance === 'lifecycle' ? this.#keep(entry) : null;
    this.#wake();
    await kept;
  }

  #isKnown(occurrence: string): boolean {
    return this.#occurrences.has(occurrence) || this.#queue.some((entry) => entry.occurrence === occurrence);
  }

  /** On disk, or gone to the store: then it can no longer be lost. */
  async #keep(entry: OutboxEntry): Promise<void> {
    if (await this.#put(entry)) return;
    if (!this.#queue.includes(entry)) return;
    const safe = deferred<undefined>();
    this.#unkept.set(entry, {
      promise: safe.promise,
      resolve: () => {
        safe.resolve(undefined);
      },
    });
    if (MAY_BE_LOST.has(entry.name)) return;
    await within(safe.promise, { timeoutMs: KEEP_WAIT_MS, what: entry.name }).catch(() => {
      throw new EventNotKeptError(
        `${entry.name} of agent ${entry.source} is only in memory: the outbox cannot be written and the event store ` +
          'takes nothing; make room in the state directory',
        { retryable: true, details: { event: entry.name } },
      );
    });
  }

  /** Was it possible? The log has said why not. */
  async #put(entry: OutboxEntry): Promise<boolean> {
    try {
      await this.#parts.log.put(entry);
      return true;
    } catch {
      return false;
    }
  }

  /** There may be room on the disk again. */
  async #keepLate(): Promise<void> {
    for (const [entry, safe] of this.#unkept) {
      if (!(await this.#put(entry))) return;
      this.#unkept.delete(entry);
      safe.resolve();
    }
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
    for (let entry = this.#queue[0]; entry; entry = this.#queue[0]) {
      if (this.#stop.signal.aborted) return;
      const { token, anycast, broadcast, cacheKey, importance } = entry;
      try {
        await this.#parts.transport.deliver({
          ...{ token, anycast, broadcast, cacheKey },
          once: importance === 'lifecycle',
        });
      } catch (error) {
        this.#failure = messageOf(error);
        if (retryMs === RETRY_MS.first)
          this.#parts.logger.warn('events cannot be delivered; trying on', {
            waiting: this.#queue.length,
            error: this.#failure,
          });
        await this.#keepLate();
        await this.#parts.clock.sleep(retryMs, this.#stop.signal).catch(() => undefined);
        retryMs = Math.min(retryMs * 2, RETRY_MS.most);
        this.#enforceLimits();
        continue;
      }
      if (this.#failure !== null) this.#parts.logger.info('events are delivered again');
      this.#failure = null;
      retryMs = RETRY_MS.first;
      this.#delivered.increment({ event: entry.name });
      this.#remember(entry);
      await this.#remove(entry);
    }
  }

  #remember({ occurrence }: OutboxEntry): void {
    if (occurrence === null) return;
    this.#occurrences.add(occurrence);
    for (const oldest of this.#occurrences) {
      if (this.#occurrences.size <= REMEMBERED_OCCURRENCES) return;
      this.#occurrences.delete(oldest);
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
    this.#unkept.get(entry)?.resolve();
    this.#unkept.delete(entry);
    const { log } = this.#parts;
    await log.done(entry).catch(() => undefined);
    if (log.wantsRewrite)
      await log
        .rewrite(
          this.#queue.filter(({ importance }) => importance === 'lifecycle'),
          [...this.#occurrences],
        )
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
