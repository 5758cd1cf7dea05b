import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import type { AgentClient } from '../../../src/client/agent-client.js';
import type { ManagerVersion } from '../../../src/config/types.js';
import { silentLogger } from '../../../src/core/logger.js';
import { EtcdStore } from '../../../src/stores/etcd-store.js';
import type { TestDaemon } from '../daemon.js';
import { EtcdServer } from '../etcd-server.js';
import { eventually } from '../eventually.js';
import { ManualClock } from '../manual-clock.js';
import { RedisServer } from '../redis-server.js';
import { AgentCalls } from './agent-calls.js';
import { AgentTable } from './agent-table.js';
import { EventConsumer, type RawEvent, type ReceivedEvent } from './event-consumer.js';
import { ALIVE_STATUSES, type KernelStatus, RETRIABLE_STATUSES } from './kernel-rules.js';
import type { SessionSpec } from './session-requests.js';
import { type SessionRow, SessionTable } from './session-table.js';
import { findStrays } from './strays.js';

const DEADLINE_MS = 90_000;
/** A session that has not moved for so long is asked about, and a call of its repeated. */
const STUCK_AFTER_MS = 10_000;
/** With this one, a session that is stuck goes back into the queue. */
const LAST_RETRY = 5;

/**
 * As much of a manager as sessions need: it reads events as the original does, keeps agents and sessions by the
 * original's rules, and calls agents in the same order. A kernel's status changes by events alone, but for the steps that
 * are the manager's own decision: to create, to terminate, to begin anew, and to give up what a lost agent had. Its clock
 * stands still until a test lets it go on, see `pass`.
 */
export class SmallManager {
  readonly line: ManagerVersion;
  readonly agents: AgentTable;
  readonly sessions: SessionTable;
  /** Every event of the stream, and every one of the channel, in order. */
  readonly heard: ReceivedEvent[] = [];
  readonly broadcasts: ReceivedEvent[] = [];
  readonly #calls: AgentCalls;
  readonly #clock = new ManualClock();
  readonly #etcd: EtcdServer;
  readonly #redis: RedisServer;
  readonly #specs = new Map<string, SessionSpec>();
  readonly #batches = new Set<string>();
  readonly #closers: (() => Promise<void>)[] = [];
  #consumer: EventConsumer | undefined;
  #clients: ReadonlyMap<string, AgentClient> = new Map();
  #isClosed = false;

  private constructor(line: ManagerVersion, etcd: EtcdServer, redis: RedisServer) {
    this.line = line;
    this.#etcd = etcd;
    this.#redis = redis;
    this.agents = new AgentTable(this.#clock);
    this.sessions = new SessionTable(line, this.#clock);
    this.#calls = new AgentCalls({
      client: (agentId) => this.client(agentId),
      isClosed: () => this.#isClosed,
    });
    this.sessions.onChange((session) => {
      this.#advance(session);
    });
  }

  /** With an etcd and a Redis of its own; agents find both by what `toml` says. */
  static async start(line: ManagerVersion = '25.17'): Promise<SmallManager> {
    const [etcd, redis] = await Promise.all([EtcdServer.start(), RedisServer.start()]);
    const store = new EtcdStore({ endpoints: [etcd.endpoint], logger: silentLogger });
    await store.write([
      { type: 'put', key: '/sorna/local/config/redis/addr', value: `127.0.0.1:${String(redis.port)}` },
      { type: 'put', key: '/sorna/local/nodes/manager/i-small', value: 'up' },
    ]);
    await store.close();
    const manager = new SmallManager(line, etcd, redis);
    const listeners = {
      onAnycast: (event: ReceivedEvent) => {
        manager.#hear(event);
      },
      onBroadcast: (event: ReceivedEvent) => {
        manager.broadcasts.push(event);
      },
    };
    manager.#consumer = await EventConsumer.open(redis.port, listeners, line);
    return manager;
  }

  get redisPort(): number {
    return this.#redis.port;
  }

  /** Tables of a daemon's configuration; and keys of its `[splenium]`. */
  get toml(): string {
    return `[etcd]\nnamespace = "local"\naddr = "${this.#etcd.endpoint.replace('http://', '')}"\n`;
  }
  get spleniumKeys(): readonly string[] {
    return [`manager-version = "${this.line}"`];
  }

  /** What the original could not have read. */
  get defects(): readonly string[] {
    return this.#consumer?.defects ?? [];
  }

  /** Everything that came, for another reader. */
  get raw(): readonly RawEvent[] {
    return this.#consumer?.raw ?? [];
  }

  /** Calls that failed, as `method: message`; a test that expects none looks here. */
  get failures(): string[] {
    return this.#calls.failures;
  }

  /** How often kernels of a session were asked for. */
  creationsOf({ id }: SessionRow): number {
    return this.#calls.creations.get(id) ?? 0;
  }

  connect(daemon: TestDaemon): void {
    const client = daemon.client();
    this.#clients = new Map(daemon.agentIds.map((id) => [id, client.withAgent(id)]));
    this.#closers.push(() => client.close());
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    // Ends calls whose answer was lost with a daemon.
    for (const close of this.#closers) await close();
    await this.#calls.idle();
    await this.#consumer?.close();
    await Promise.all([this.#etcd.stop(), this.#redis.stop()]);
  }

  /** A connection to the stores of the agents. The caller ends it. */
  database(db: number): Redis {
    return new Redis({ port: this.#redis.port, db });
  }

  /** The etcd of the agents. The caller closes it. */
  keyValueStore(): EtcdStore {
    return new EtcdStore({ endpoints: [this.#etcd.endpoint], logger: silentLogger });
  }

  client(agentId: string): AgentClient {
    const client = this.#clients.get(agentId);
    if (!client) throw new Error(`agent ${agentId} is not connected`);
    return client;
  }

  /** Schedules a session; the rest happens by events. */
  open(spec: SessionSpec): SessionRow {
    const session: SessionRow = {
      id: randomUUID(),
      type: spec.type ?? 'interactive',
      kernels: spec.agents.map((agentId) => ({
        id: randomUUID(),
        agentId,
        image: spec.image,
        status: 'PREPARING',
        changedAtMs: this.#clock.nowMs(),
        creationInfo: null,
        reason: null,
      })),
      result: 'UNDEFINED',
      retries: 0,
      history: ['PREPARING'],
    };
    this.#specs.set(session.id, spec);
    this.sessions.add(session);
    this.#calls.checkAndPull(spec, session);
    return session;
  }

  /** Schedules one that has gone back into the queue: by this specification now. */
  reopen(session: SessionRow, spec: SessionSpec): void {
    if (session.history.at(-1) !== 'PENDING') throw new Error(`session ${session.id} is not in the queue`);
    this.#specs.set(session.id, spec);
    for (const [place, kernel] of session.kernels.entries())
      kernel.agentId = spec.agents[place] ?? kernel.agentId;
    this.sessions.move(session, ['PENDING'], 'PREPARING');
    this.#calls.checkAndPull(spec, session);
  }

  terminate(session: SessionRow, reason = 'user-requested'): void {
    this.sessions.move(session, ['PENDING'], 'CANCELLED', reason);
    this.sessions.move(session, ALIVE_STATUSES, 'TERMINATING');
    for (const kernel of session.kernels)
      if (kernel.status === 'TERMINATING') this.#calls.destroy(session, kernel, reason);
  }

  /** So much time goes by, and the manager does what it does from time to time. Resolves when that is done. */
  async pass(ms: number): Promise<void> {
    this.#clock.advance(ms);
    this.agents.findLost();
    for (const session of this.sessions.rows.values()) {
      if (this.line === '25.17') this.#sweepLost(session);
      await this.#retry(session);
    }
  }

  /** Resolves when no session is left that was told to end. */
  async settled(): Promise<void> {
    for (const session of this.sessions.rows.values())
      await eventually(
        () => {
          if (session.kernels.some(({ status }) => status === 'TERMINATING'))
            throw new Error(`session ${session.id} does not end; failed calls: ${this.failures.join('; ')}`);
        },
        { timeoutMs: DEADLINE_MS },
      );
  }

  /** Resolves when the session is that; a session that ended otherwise is an error. */
  async reaches(session: SessionRow, status: KernelStatus): Promise<void> {
    await eventually(
      () => {
        if (!session.history.includes(status))
          throw new Error(
            `${session.history.join(' > ')} instead of ${status}; kernels ${session.kernels.map((kernel) => kernel.status).join(', ')}; failed calls: ${this.failures.join('; ')}`,
          );
      },
      { timeoutMs: DEADLINE_MS },
    );
  }

  #hear(event: ReceivedEvent): void {
    this.heard.push(event);
    this.agents.apply(event);
    this.sessions.apply(event);
    if (event.name === 'agent_status_heartbeat')
      this.#calls.purge(event.source, findStrays(event.args, this.sessions));
  }

  #advance(session: SessionRow): void {
    const are = (status: KernelStatus) => session.kernels.every((kernel) => kernel.status === status);
    const spec = this.#specs.get(session.id);
    if (!spec) return;
    if (are('PREPARED')) {
      this.sessions.move(session, ['PREPARED'], 'CREATING');
      this.#calls.create(spec, session);
    } else if (are('RUNNING') && session.result !== 'UNDEFINED')
      this.terminate(session, session.result === 'SUCCESS' ? 'task-finished' : 'task-failed');
    else if (are('RUNNING') && session.type === 'batch') this.#startBatch(spec, session);
    else if (this.#hasBroken(session)) this.terminate(session, 'abnormal-termination');
  }

  /** A 26.x manager ends a session that has lost a kernel; for one of 25.17 it goes on until somebody ends it. */
  #hasBroken({ kernels }: SessionRow): boolean {
    const are = (statuses: readonly KernelStatus[]) =>
      kernels.some(({ status }) => statuses.includes(status));
    return this.line === '26.9' && are(['TERMINATED', 'CANCELLED']) && are(ALIVE_STATUSES);
  }

  #startBatch(spec: SessionSpec, session: SessionRow): void {
    if (this.#batches.has(session.id)) return;
    this.#batches.add(session.id);
    this.#calls.startBatch(spec, session);
  }

  /** Nobody is there to tell the end of what a lost agent had. */
  #sweepLost(session: SessionRow): void {
    for (const kernel of session.kernels)
      if (kernel.status === 'TERMINATING' && this.agents.isGone(kernel.agentId))
        this.sessions.moveOne(session, kernel, 'TERMINATED', 'swept-lost-agent');
  }

  async #retry(session: SessionRow): Promise<void> {
    const spec = this.#specs.get(session.id);
    const has = (statuses: readonly KernelStatus[]) =>
      session.kernels.some(({ status }) => statuses.includes(status));
    const changedAtMs = Math.min(...session.kernels.map((kernel) => kernel.changedAtMs));
    if (!spec || !has(['PREPARING', 'PULLING', 'CREATING'])) return;
    if (this.#clock.nowMs() - changedAtMs < STUCK_AFTER_MS) return;
    const isCreating = has(['CREATING']);
    if (isCreating ? await this.#calls.isCreating(session) : await this.#calls.isPulling(session)) return;
    session.retries += 1;
    if (session.retries >= LAST_RETRY) {
      session.retries = 0;
      this.sessions.move(session, RETRIABLE_STATUSES, 'PENDING');
    } else if (isCreating) this.#calls.create(spec, session);
    else this.#calls.checkAndPull(spec, session);
  }
}
