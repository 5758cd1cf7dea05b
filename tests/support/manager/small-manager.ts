import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import type { AgentClient } from '../../../src/client/agent-client.js';
import { ImageRef } from '../../../src/codec/index.js';
import { kernelCreationArguments } from '../../../src/client/kernel-spec.js';
import { messageOf } from '../../../src/core/errors.js';
import { silentLogger } from '../../../src/core/logger.js';
import { EtcdStore } from '../../../src/stores/etcd-store.js';
import type { TestDaemon } from '../daemon.js';
import { EtcdServer } from '../etcd-server.js';
import { eventually } from '../eventually.js';
import { RedisServer } from '../redis-server.js';
import { AgentTable } from './agent-table.js';
import { EventConsumer, type ReceivedEvent } from './event-consumer.js';
import { type KernelStatus, type SessionRow, SessionTable } from './session-table.js';

export interface SessionSpec {
  readonly image: string;
  /** Default: the image's own, whatever it is. */
  readonly digest?: string;
  readonly autoPull?: 'digest' | 'tag' | 'none';
  readonly labels: Readonly<Record<string, string>>;
  /** One kernel each, in this order; the first is the main one. */
  readonly agents: readonly string[];
  readonly type?: 'interactive' | 'batch';
  /** Of a batch session. */
  readonly startupCommand?: string;
  /** Labels of the last kernel, for one that cannot start. */
  readonly lastLabels?: Readonly<Record<string, string>>;
}

const WAITING_STATUSES: readonly KernelStatus[] = ['PREPARING', 'PULLING', 'PREPARED'];
const ALIVE_STATUSES: readonly KernelStatus[] = [...WAITING_STATUSES, 'CREATING', 'RUNNING'];
/** A manager repeats what is not done; a real one a little later. */
const REPEAT_MS = 2000;
const DEADLINE_MS = 90_000;

/**
 * As much of a 25.17 manager as sessions need: it reads events as the original does, keeps agents and sessions by the
 * original's rules, and calls agents in the same order. A kernel's status changes by events alone, but for the two
 * steps that are the manager's own decision: to create and to terminate.
 */
export class SmallManager {
  readonly agents = new AgentTable();
  readonly sessions = new SessionTable();
  /** Every event of the stream, and every one of the channel, in order. */
  readonly heard: ReceivedEvent[] = [];
  readonly broadcasts: ReceivedEvent[] = [];
  /** Calls that failed, as `method: message`; a test that expects none looks here. */
  readonly failures: string[] = [];
  readonly #etcd: EtcdServer;
  readonly #redis: RedisServer;
  readonly #specs = new Map<string, SessionSpec>();
  readonly #working = new Set<Promise<void>>();
  readonly #batches = new Set<string>();
  readonly #closers: (() => Promise<void>)[] = [];
  #consumer: EventConsumer | undefined;
  #clients: ReadonlyMap<string, AgentClient> = new Map();
  #isClosed = false;

  private constructor(etcd: EtcdServer, redis: RedisServer) {
    this.#etcd = etcd;
    this.#redis = redis;
    this.sessions.onChange((session) => {
      this.#advance(session);
    });
  }

  /** With an etcd and a Redis of its own; agents find both by what `toml` says. */
  static async start(): Promise<SmallManager> {
    const [etcd, redis] = await Promise.all([EtcdServer.start(), RedisServer.start()]);
    const store = new EtcdStore({ endpoints: [etcd.endpoint], logger: silentLogger });
    await store.write([
      { type: 'put', key: '/sorna/local/config/redis/addr', value: `127.0.0.1:${String(redis.port)}` },
      { type: 'put', key: '/sorna/local/nodes/manager/i-small', value: 'up' },
    ]);
    await store.close();
    const manager = new SmallManager(etcd, redis);
    manager.#consumer = await EventConsumer.open(redis.port, {
      onAnycast: (event) => {
        manager.heard.push(event);
        manager.agents.apply(event);
        manager.sessions.apply(event);
      },
      onBroadcast: (event) => {
        manager.broadcasts.push(event);
      },
    });
    return manager;
  }

  get redisPort(): number {
    return this.#redis.port;
  }

  get toml(): string {
    return `[etcd]\nnamespace = "local"\naddr = "${this.#etcd.endpoint.replace('http://', '')}"\n`;
  }

  /** What the original could not have read. */
  get defects(): readonly string[] {
    return this.#consumer?.defects ?? [];
  }

  connect(daemon: TestDaemon): void {
    const client = daemon.client();
    this.#clients = new Map(daemon.agentIds.map((id) => [id, client.withAgent(id)]));
    this.#closers.push(() => client.close());
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#working);
    for (const close of this.#closers) await close();
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
        creationInfo: null,
        reason: null,
      })),
      result: 'UNDEFINED',
      history: ['PREPARING'],
    };
    this.#specs.set(session.id, spec);
    this.sessions.add(session);
    for (const agentId of new Set(spec.agents))
      this.#do('check_and_pull', async () => {
        const { image } = this.#config(spec, session, 0);
        await this.client(agentId).call('check_and_pull', { image_configs: { [spec.image]: image } });
      });
    return session;
  }

  terminate(session: SessionRow, reason = 'user-requested'): void {
    this.sessions.move(session, ALIVE_STATUSES, 'TERMINATING');
    for (const { id: kernelId, agentId } of session.kernels)
      this.#do('destroy_kernel', () => this.#destroy(session, { kernelId, agentId, reason }));
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

  #advance(session: SessionRow): void {
    const are = (status: KernelStatus) => session.kernels.every((kernel) => kernel.status === status);
    const spec = this.#specs.get(session.id);
    if (!spec) return;
    if (are('PREPARED')) {
      this.sessions.move(session, ['PREPARED'], 'CREATING');
      for (const agentId of new Set(spec.agents))
        this.#do('create_kernels', () => this.#create(spec, session, agentId));
    } else if (session.kernels.some(({ status }) => status === 'CANCELLED') && !are('CANCELLED'))
      this.sessions.move(session, WAITING_STATUSES, 'CANCELLED');
    else if (are('RUNNING') && session.result !== 'UNDEFINED')
      this.terminate(session, session.result === 'SUCCESS' ? 'task-finished' : 'task-failed');
    else if (are('RUNNING') && session.type === 'batch') this.#startBatch(spec, session);
  }

  #startBatch(spec: SessionSpec, session: SessionRow): void {
    const [main] = session.kernels;
    if (!main || this.#batches.has(session.id)) return;
    this.#batches.add(session.id);
    // Without naming the agent, as a 25.17 manager does.
    this.#do('trigger_batch_execution', async () => {
      await this.client(main.agentId)
        .withAgent(null)
        .call('trigger_batch_execution', {
          session_id: session.id,
          kernel_id: main.id,
          code: spec.startupCommand ?? '',
          timeout: null,
        });
    });
  }

  /** All kernels of one agent in one call; a failure ends the whole session. */
  async #create(spec: SessionSpec, session: SessionRow, agentId: string): Promise<void> {
    const mine = session.kernels.flatMap((kernel, place) => (kernel.agentId === agentId ? [place] : []));
    const args = mine.map((place) => this.#arguments(spec, session, place));
    const [first] = args;
    if (!first) return;
    try {
      await this.client(agentId).call('create_kernels', {
        ...first,
        raw_kernel_ids: args.flatMap(({ raw_kernel_ids: ids }) => ids),
        raw_configs: args.flatMap(({ raw_configs: configs }) => configs),
        kernel_image_refs: new Map(args.flatMap(({ kernel_image_refs: refs }) => [...refs])),
      });
    } catch (error) {
      this.failures.push(`create_kernels: ${messageOf(error)}`);
      this.terminate(session, 'failed-to-start');
    }
  }

  #arguments(spec: SessionSpec, session: SessionRow, place: number) {
    const kernel = session.kernels[place];
    const isLast = place === session.kernels.length - 1;
    const args = kernelCreationArguments({
      image: spec.image,
      sessionId: session.id,
      ...(kernel && { kernelId: kernel.id }),
      ...(spec.digest !== undefined && { digest: spec.digest }),
      autoPull: spec.autoPull ?? 'none',
      labels: isLast && spec.lastLabels ? spec.lastLabels : spec.labels,
      sessionType: session.type,
      resourceSlots: { cpu: '1', mem: '67108864' },
    });
    const [role, index] = place === 0 ? ['main', 1] : ['sub', place];
    const size = session.kernels.length;
    return {
      ...args,
      raw_configs: args.raw_configs.map((config) => ({
        ...config,
        image: { ...config.image, is_local: false },
        cluster_role: role,
        cluster_idx: index,
        cluster_hostname: `${role}${String(index)}`,
      })),
      raw_cluster_info: {
        ...args.raw_cluster_info,
        size,
        replicas: size === 1 ? { main: 1 } : { main: 1, sub: size - 1 },
      },
      kernel_image_refs: new Map([...args.kernel_image_refs].map(([id, ref]) => [id, notLocal(ref)])),
    };
  }

  #config(spec: SessionSpec, session: SessionRow, place: number) {
    const [config] = this.#arguments(spec, session, place).raw_configs;
    if (!config) throw new Error('a session without kernels');
    return config;
  }

  /** Again and again until the kernel is TERMINATED, as a manager does while the session is TERMINATING. */
  async #destroy(
    session: SessionRow,
    { kernelId, agentId, reason }: { kernelId: string; agentId: string; reason: string },
  ): Promise<void> {
    const kernel = session.kernels.find(({ id }) => id === kernelId);
    while (kernel?.status === 'TERMINATING' && !this.#isClosed) {
      await this.client(agentId).destroyKernel({ kernelId, sessionId: session.id, reason });
      await eventually(
        () => {
          if (kernel.status === 'TERMINATING' && !this.#isClosed) throw new Error('still there');
        },
        { timeoutMs: REPEAT_MS },
      ).catch(() => undefined);
    }
  }

  #do(method: string, work: () => Promise<void>): void {
    const task = work()
      .catch((error: unknown) => {
        this.failures.push(`${method}: ${messageOf(error)}`);
      })
      .finally(() => this.#working.delete(task));
    this.#working.add(task);
  }
}

function notLocal({ name, project, tag, registry, architecture }: ImageRef): ImageRef {
  return new ImageRef({ name, project, tag, registry, architecture, isLocal: false });
}
