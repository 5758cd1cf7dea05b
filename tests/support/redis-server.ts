import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.js';
import { freePort } from './free-port.js';

export interface RedisServerOptions {
  readonly password?: string;
  /** Further ones of `redis-server`. */
  readonly arguments?: readonly string[];
}

/** A real Redis on loopback, without persistence. */
export class RedisServer {
  readonly port: number;
  readonly password: string | null;
  readonly #directory: string;
  readonly #arguments: readonly string[];
  #process: ChildProcess | undefined;

  private constructor(directory: string, port: number, options: RedisServerOptions) {
    this.#directory = directory;
    this.port = port;
    this.password = options.password ?? null;
    this.#arguments = options.arguments ?? [];
  }

  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const directory = await mkdtemp(join(tmpdir(), 'splenium-redis-'));
    const server = new RedisServer(directory, await freePort(), options);
    await server.resume();
    return server;
  }

  /** Starts the process again after `kill`, empty. */
  async resume(): Promise<void> {
    this.#process = spawn(
      'redis-server',
      [
        ...['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.#directory],
        ...['--save', '', '--appendonly', 'no'],
        ...(this.password === null ? [] : ['--requirepass', this.password, '--masterauth', this.password]),
        ...this.#arguments,
      ],
      { stdio: 'ignore' },
    );
    await eventually(() => this.#accepts(), { timeoutMs: 30_000 });
  }

  /** It keeps its connections but answers nothing, until `thaw`. */
  freeze(): void {
    this.#process?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#process?.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }

  #accepts(): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.port, '127.0.0.1', () => {
        socket.end();
        resolve();
      });
      socket.once('error', reject);
    });
  }
}
