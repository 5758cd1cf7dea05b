import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.js';
import { freePort } from './free-port.js';

/** A real etcd on loopback with a data directory of its own. */
export class EtcdServer {
  readonly endpoint: string;
  readonly #directory: string;
  readonly #ports: readonly [client: number, peer: number];
  #process: ChildProcess | undefined;

  private constructor(directory: string, ports: readonly [number, number]) {
    this.#directory = directory;
    this.#ports = ports;
    this.endpoint = `http://127.0.0.1:${String(ports[0])}`;
  }

  static async start(): Promise<EtcdServer> {
    const directory = await mkdtemp(join(tmpdir(), 'splenium-etcd-'));
    const server = new EtcdServer(directory, [await freePort(), await freePort()]);
    await server.resume();
    return server;
  }

  /** Starts the process again after `kill`, with the data it had. */
  async resume(): Promise<void> {
    const [, peerPort] = this.#ports;
    const peer = `http://127.0.0.1:${String(peerPort)}`;
    const options = {
      'data-dir': join(this.#directory, 'data'),
      'listen-client-urls': this.endpoint,
      'advertise-client-urls': this.endpoint,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': `default=${peer}`,
      'log-level': 'error',
    };
    this.#process = spawn(
      'etcd',
      Object.entries(options).map(([name, value]) => `--${name}=${value}`),
      { stdio: 'ignore' },
    );
    await eventually(
      async () => {
        const response = await fetch(`${this.endpoint}/health`);
        if (!(await response.text()).includes('true')) throw new Error('etcd is not healthy');
      },
      { timeoutMs: 60_000 },
    );
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  /** What it held is lost: the next `resume` starts an empty store. */
  async wipe(): Promise<void> {
    await rm(join(this.#directory, 'data'), { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
