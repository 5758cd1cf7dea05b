import { randomUUID } from 'node:crypto';
import { type Deferred, deferred, within } from '../core/async.js';
import type { Clock } from '../core/clock.js';
import { hasCode, messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { Counter, Gauge, Metrics } from '../core/metrics.js';
import type { AgentEvent, EventSink } from './catalogue.js';
import type { EventEncoder, StreamField } from './event-encoder.js';
import { EventNotKeptError } from './errors.js';
import { ENTRY_REFUSED, type EventTransport } from './event-transport.js';
import { ManagerPace } from './manager-pace.js';
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
  /** Has an earlier process met managers that read events? */
  readonly hasSeenManagers: boolean;
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

type Attempt = { readonly left: true } | { readonly left: false; readonly pauseMs: number };

/**
 * The way out for events: lifecycle events are on disk before `publish` resolves, everything leaves in the order in
 * which it came, and a manager's store that is away only delays (design, decision 9). Managers that read slowly or are
 * away only delay too, see `ManagerPace`; heartbeats alone overtake what waits for them. A report (heartbeat,
 * progress) lives in memory alone: the next one replaces it. At a bound, reports go first; a lifecycle event that must
 * go is counted and logged, each by name.
 *
 * Where the disk refuses an event, `publish` waits until the store has it instead, and rejects if neither takes it.
 */
export class Outbox implements EventSink {
  readonly #parts: OutboxParts;
  readonly #queue: OutboxEntry[];
  readonly #pace: ManagerPace;
  readonly #dropped: Counter;
  readonly #delivered: Counter;
  readonly #length: Gauge;
  readonly #stop = new AbortController();
  /** Delivered occurrences, oldest first. */
  readonly #occurrences: Set<string>;
  /** Lifecycle entries that the disk has refused so far -> settles once they need it no more. */
  readonly #unkept = new Map<OutboxEntry, Deferred<undefined>>();
  /** Given up at a bound or refused by the store. */
  readonly #lost = new WeakSet<OutboxEntry>();
  /** Agent -> its events that wait. */
  readonly #waiting = new Map<string, number>();
  #failure: string | null = null;
  #retryMs: number = RETRY_MS.first;
  /** On its way at this moment. */
  #leaving: OutboxEntry | null = null;
  #bytes: number;
  #lastId: number;
  #delivering: Promise<void> | undefined;

  constructor(parts: OutboxParts) {
    this.#parts = parts;
    this.#queue = [...parts.entries];
    this.#pace = new ManagerPace(parts);
    this.#occurrences = new Set(parts.delivered.slice(-REMEMBERED_OCCURRENCES));
    this.#bytes = this.#queue.reduce((sum, entry) => sum + sizeOf(entry), 0);
    this.#lastId = this.#queue.reduce((highest, { id }) => Math.max(highest, id), 0);
    this.#dropped = parts.metrics.counter({
      name: 'splenium_outbox_dropped_total',
      help: 'Events given up: the outbox was full, they were too old, or the event store refused them for good.',
      labels: ['agent', 'event', 'importance'],
    });
    this.#delivered = parts.metrics.counter({
      name: 'splenium_outbox_delivered_total',
      help: 'Events taken over by the event store.',
      labels: ['agent', 'event'],
    });
    this.#length = parts.metrics.gauge({
      name: 'splenium_outbox_events',
      help: 'Events that wait to be delivered.',
      labels: ['agent'],
    });
    for (const { source } of this.#queue) this.#count(source, 1);
    // Some may have become too old while no process ran.
    this.#enforceLimits();
    if (this.#queue.length > 0) this.#wake();
  }

  get length(): number {
    return this.#queue.length;
  }

  /** Why the event store takes nothing at present; null when it does. */
  get failure(): string | null {
    return this.#failure;
  }

  /**
   * @throws EventNotKeptError when neither the disk nor the store takes a lifecycle event, which stays in memory then,
   * or when it was given up.
   */
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
    if (REPLACEABLE.has(event.name)) this.#removeWaiting(entry);
    this.#queue.push(entry);
    this.#bytes += sizeOf(entry);
    this.#count(source, 1);
    this.#enforceLimits();
    const kept = importance === 'lifecycle' ? this.#keep(entry) : null;
    this.#wake();
    await kept;
  }

  #isKnown(occurrence: string): boolean {
    return this.#occurrences.has(occurrence) || this.#queue.some((entry) => entry.occurrence === occurrence);
  }

  /** On disk, or gone to the store: then it can no longer be lost. */
  async #keep(entry: OutboxEntry): Promise<void> {
    // One that was given up at once must not come back with the next start.
    const isOnDisk = !this.#lost.has(entry) && (await this.#put(entry));
    const safe = deferred<undefined>();
    if (!isOnDisk && this.#queue.includes(entry)) this.#unkept.set(entry, safe);
    if (isOnDisk || MAY_BE_LOST.has(entry.name)) return;
    if (this.#lost.has(entry)) throw this.#notKept(entry);
    if (!this.#unkept.has(entry)) return;
    await within(safe.promise, { timeoutMs: KEEP_WAIT_MS, what: entry.name }).catch(() => {
      throw this.#notKept(entry);
    });
  }

  #notKept(entry: OutboxEntry): EventNotKeptError {
    const what = `${entry.name} of agent ${entry.source}`;
    return new EventNotKeptError(
      this.#lost.has(entry)
        ? `${what} was given up: the outbox is full, or the event store refuses it for good; the log says which`
        : `${what} is only in memory: the outbox cannot be written and the event store takes nothing; make room in ` +
            'the state directory',
      { retryable: true, details: { event: entry.name } },
    );
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
      safe.resolve(undefined);
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
    for (let entry = this.#queue[0]; entry; entry = this.#queue[0]) {
      if (this.#stop.signal.aborted) return;
      const attempt = await this.#attempt(entry, 'first');
      if (attempt.left) continue;
      await this.#keepLate();
      await this.#parts.clock.sleep(attempt.pauseMs, this.#stop.signal).catch(() => undefined);
      this.#enforceLimits();
    }
  }

  async #attempt(entry: OutboxEntry, place: 'first' | 'overtaking'): Promise<Attempt> {
    const { token, anycast, broadcast, cacheKey, importance } = entry;
    this.#leaving = entry;
    try {
      const outcome = await this.#parts.transport.deliver({
        ...{ token, anycast, broadcast, cacheKey },
        once: importance === 'lifecycle',
        ...this.#pace.needs(importance),
      });
      if (this.#failure !== null) this.#parts.logger.info('events are delivered again');
      this.#failure = null;
      this.#retryMs = RETRY_MS.first;
      if (outcome.held !== null) {
        if (place === 'overtaking') return { left: false, pauseMs: 0 };
        const pauseMs = this.#pace.held(outcome.held, outcome.position);
        await this.#overtake(entry);
        return { left: false, pauseMs };
      }
      // What overtakes says nothing about what waits.
      if (place === 'first' && this.#pace.taken(outcome))
        void this.#parts.log.sawManagers().catch(() => undefined);
      this.#delivered.increment({ agent: entry.source, event: entry.name });
      this.#remember(entry);
      await this.#remove(entry);
      return { left: true };
    } catch (error) {
      if (!hasCode(error, ENTRY_REFUSED)) return { left: false, pauseMs: this.#failed(messageOf(error)) };
      this.#drop(entry, { refusal: messageOf(error) });
      return { left: true };
    } finally {
      this.#leaving = null;
    }
  }

  /** Managers take an agent without heartbeats for lost, and these push nothing out: so they go ahead. */
  async #overtake(waiting: OutboxEntry): Promise<void> {
    for (const entry of this.#queue.filter(({ name }) => REPLACEABLE.has(name)))
      if (entry !== waiting && !this.#stop.signal.aborted) await this.#attempt(entry, 'overtaking');
  }

  /** How long until the next attempt, ms. */
  #failed(reason: string): number {
    this.#failure = reason;
    const pauseMs = this.#retryMs;
    if (pauseMs === RETRY_MS.first)
      this.#parts.logger.warn('events cannot be delivered; trying on', {
        waiting: this.#queue.length,
        error: reason,
      });
    this.#retryMs = Math.min(pauseMs * 2, RETRY_MS.most);
    return pauseMs;
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
    // The limits may have removed it while it was on its way.
    if (!this.#detach(entry) || entry.importance !== 'lifecycle') return;
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

  /** Was it still in the queue? */
  #detach(entry: OutboxEntry): boolean {
    const index = this.#queue.indexOf(entry);
    if (index < 0) return false;
    this.#queue.splice(index, 1);
    this.#bytes -= sizeOf(entry);
    this.#count(entry.source, -1);
    const safe = this.#unkept.get(entry);
    this.#unkept.delete(entry);
    if (this.#lost.has(entry)) safe?.reject(this.#notKept(entry));
    else safe?.resolve(undefined);
    return true;
  }

  #count(source: string, by: 1 | -1): void {
    const waiting = (this.#waiting.get(source) ?? 0) + by;
    this.#waiting.set(source, waiting);
    this.#length.set(waiting, { agent: source });
  }

  #removeWaiting({ name, source }: OutboxEntry): void {
    for (const waiting of this.#queue.filter((one) => one.name === name && one.source === source))
      if (waiting !== this.#leaving) this.#detach(waiting);
  }

  #enforceLimits(): void {
    const { maxEvents, maxBytes, maxAgeMs } = this.#parts.limits;
    const oldest = this.#parts.clock.nowMs() - maxAgeMs;
    for (const entry of this.#queue.filter(({ createdAtMs }) => createdAtMs < oldest))
      this.#drop(entry, { bound: 'age' });
    while (this.#queue.length > maxEvents || this.#bytes > maxBytes) {
      const victim = this.#queue.find(({ importance }) => importance === 'report') ?? this.#queue[0];
      if (!victim) return;
      this.#drop(victim, { bound: 'size' });
    }
  }

  #drop(entry: OutboxEntry, why: { readonly bound: 'age' | 'size' } | { readonly refusal: string }): void {
    const { name, source, importance } = entry;
    this.#lost.add(entry);
    this.#dropped.increment({ agent: source, event: name, importance });
    const message =
      'refusal' in why
        ? 'an event is given up: the event store refuses it for good'
        : 'a lifecycle event is given up: raise the outbox limits or mend the event store';
    if (importance === 'lifecycle' || 'refusal' in why)
      this.#parts.logger.error(message, { event: name, agentId: source, ...why });
    void this.#remove(entry);
  }
}

const sizeOf = ({ anycast, broadcast }: OutboxEntry): number =>
  (anycast?.reduce((sum, [name, value]) => sum + name.length + value.length, 0) ?? 0) +
  (broadcast?.length ?? 0);
