import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { eventually } from './eventually.js';
import { freePort } from './free-port.js';
import { RedisServer } from './redis-server.js';

const MASTER = 'mymaster';

/** A master, a replica and real sentinels that watch both; everything has one password, the sentinels another. */
export class RedisSentinels {
  readonly serviceName = MASTER;
  readonly ports: readonly number[];
  readonly servers: readonly RedisServer[];
  readonly password = 'of-the-servers';
  readonly sentinelPassword = 'of-the-sentinels';
  readonly #directory: string;
  readonly #processes: ChildProcess[] = [];

  private constructor(directory: string, ports: readonly number[], servers: readonly RedisServer[]) {
    this.#directory = directory;
    this.ports = ports;
    this.servers = servers;
  }

  /** `failoverTimeoutMs`: between two failovers there is twice as long. */
  static async start(count = 3, { failoverTimeoutMs = 10_000 } = {}): Promise<RedisSentinels> {
    const directory = await mkdtemp(join(tmpdir(), 'splenium-sentinel-'));
    const password = 'of-the-servers';
    const master = await RedisServer.start({ password });
    const replica = await RedisServer.start({
      password,
      arguments: ['--replicaof', '127.0.0.1', String(master.port)],
    });
    const ports: number[] = [];
    for (let index = 0; index < count; index += 1) ports.push(await freePort());
    const sentinels = new RedisSentinels(directory, ports, [master, replica]);
    try {
      for (const port of ports) await sentinels.#startSentinel(port, count, failoverTimeoutMs);
      await eventually(
        async () => {
          const [first] = await Promise.all(ports.map((port) => sentinels.#ask(port)));
          if (first !== true) throw new Error('the sentinels do not know each other and the replica yet');
        },
        { timeoutMs: 60_000, intervalMs: 200 },
      );
    } catch (error) {
      await sentinels.stop();
      throw error;
    }
    return sentinels;
  }

  /** Who the sentinels say is the master. */
  async master(): Promise<RedisServer> {
    const [port = 0] = this.ports;
    const client = this.#client(port);
    try {
      const [, master] = (await client.call('SENTINEL', 'get-master-addr-by-name', MASTER)) as unknown[];
      const server = this.servers.find((one) => one.port === Number(master));
      if (!server) throw new Error(`no server of these is the master: ${String(master)}`);
      return server;
    } finally {
      client.disconnect();
    }
  }

  /** Resolves when the sentinels have made another server the master by themselves. */
  async whenMasterIsNot(before: RedisServer): Promise<void> {
    await eventually(
      async () => {
        if ((await this.master()) === before) throw new Error('the master is still the same');
      },
      { timeoutMs: 60_000, intervalMs: 200 },
    );
  }

  /** Resolves when the server follows another one. */
  async whenReplica(server: RedisServer): Promise<void> {
    await this.#whenReplica(server.port);
  }

  /** The sentinels answer nothing any more, until `thaw`; their servers do. */
  freeze(): void {
    for (const child of this.#processes) child.kill('SIGSTOP');
  }

  thaw(): void {
    for (const child of this.#processes) child.kill('SIGCONT');
  }

  /** The sentinels make the other server the master; resolves when they say so. */
  async failOver(): Promise<void> {
    const [port = 0] = this.ports;
    const client = this.#client(port);
    try {
      const before = await client.call('SENTINEL', 'get-master-addr-by-name', MASTER);
      await eventually(() => client.call('SENTINEL', 'failover', MASTER), { timeoutMs: 60_000 });
      await eventually(
        async () => {
          const now = await client.call('SENTINEL', 'get-master-addr-by-name', MASTER);
          if (String(now) === String(before)) throw new Error('the master is still the same');
        },
        { timeoutMs: 60_000, intervalMs: 200 },
      );
      await this.#whenReplica(Number((before as readonly unknown[])[1]));
    } finally {
      client.disconnect();
    }
  }

  /** What it takes before that is lost: it throws it away when it follows the new master. */
  async #whenReplica(port: number): Promise<void> {
    const client = new Redis({ host: '127.0.0.1', port, password: this.password });
    client.on('error', () => undefined);
    try {
      await eventually(
        async () => {
          const [role] = (await client.call('ROLE')) as readonly unknown[];
          if (String(role) !== 'slave') throw new Error('the old master does not follow the new one yet');
        },
        { timeoutMs: 60_000, intervalMs: 100 },
      );
    } finally {
      client.disconnect();
    }
  }

  async stop(): Promise<void> {
    for (const child of this.#processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }
    await Promise.all(this.servers.map((server) => server.stop()));
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #startSentinel(port: number, count: number, failoverTimeoutMs: number): Promise<void> {
    const [master] = this.servers;
    const file = join(this.#directory, `${String(port)}.conf`);
    await writeFile(
      file,
      [
        `port ${String(port)}`,
        'bind 127.0.0.1',
        `dir ${this.#directory}`,
        `requirepass ${this.sentinelPassword}`,
        `sentinel sentinel-pass ${this.sentinelPassword}`,
        `sentinel monitor ${MASTER} 127.0.0.1 ${String(master?.port ?? 0)} ${String(Math.floor(count / 2) + 1)}`,
        `sentinel auth-pass ${MASTER} ${this.password}`,
        `sentinel down-after-milliseconds ${MASTER} 3000`,
        `sentinel failover-timeout ${MASTER} ${String(failoverTimeoutMs)}`,
        '',
      ].join('\n'),
    );
    this.#processes.push(spawn('redis-server', [file, '--sentinel'], { stdio: 'ignore' }));
  }

  /** Does this sentinel know the other sentinels and the replica? */
  async #ask(port: number): Promise<boolean> {
    const client = this.#client(port);
    try {
      const found = await client.call('SENTINEL', 'master', MASTER);
      const text = Array.isArray(found) ? found.map(String) : [];
      const valueOf = (name: string) => text[text.indexOf(name) + 1];
      return (
        valueOf('num-slaves') === '1' && valueOf('num-other-sentinels') === String(this.ports.length - 1)
      );
    } finally {
      client.disconnect();
    }
  }

  #client(port: number): Redis {
    const client = new Redis({ port, password: this.sentinelPassword, commandTimeout: 5000, protocol: 2 });
    client.on('error', () => undefined);
    return client;
  }
}
