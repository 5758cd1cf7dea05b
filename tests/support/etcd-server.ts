import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from './eventually.js';
import { freePort } from './free-port.js';

export interface EtcdServerOptions {
  /** Serves TLS and lets in only who has a certificate of this authority. */
  readonly tls?: EtcdTlsFiles;
  /** Beyond it etcd is full. */
  readonly quotaBytes?: number;
}

/** Paths of PEM files. */
export interface EtcdTlsFiles {
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly clientCert: string;
  readonly clientKey: string;
}

/** A real etcd on loopback with a data directory of its own. */
export class EtcdServer {
  readonly endpoint: string;
  readonly #directory: string;
  readonly #ports: readonly [client: number, peer: number];
  readonly #options: EtcdServerOptions;
  #process: ChildProcess | undefined;

  private constructor(directory: string, ports: readonly [number, number], options: EtcdServerOptions) {
    this.#directory = directory;
    this.#ports = ports;
    this.#options = options;
    this.endpoint = `${options.tls ? 'https' : 'http'}://127.0.0.1:${String(ports[0])}`;
  }

  static async start(options: EtcdServerOptions = {}): Promise<EtcdServer> {
    const directory = await mkdtemp(join(tmpdir(), 'splenium-etcd-'));
    const server = new EtcdServer(directory, [await freePort(), await freePort()], options);
    await server.resume();
    return server;
  }

  get port(): number {
    return this.#ports[0];
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
      ...(this.#options.quotaBytes === undefined
        ? {}
        : { 'quota-backend-bytes': String(this.#options.quotaBytes) }),
      ...(this.#options.tls
        ? {
            'cert-file': this.#options.tls.serverCert,
            'key-file': this.#options.tls.serverKey,
            'trusted-ca-file': this.#options.tls.ca,
            'client-cert-auth': 'true',
          }
        : {}),
    };
    this.#process = spawn(
      'etcd',
      Object.entries(options).map(([name, value]) => `--${name}=${value}`),
      { stdio: 'ignore' },
    );
    await eventually(() => this.#accepts(), { timeoutMs: 60_000, intervalMs: 100 });
  }

  /** What `etcdctl` prints. @throws with what it complains about. */
  async ctl(...args: readonly string[]): Promise<string> {
    const { tls } = this.#options;
    const access = tls ? [`--cacert=${tls.ca}`, `--cert=${tls.clientCert}`, `--key=${tls.clientKey}`] : [];
    const { stdout } = await promisify(execFile)(
      'etcdctl',
      [`--endpoints=${this.endpoint}`, ...access, ...args],
      { env: { ...process.env, ETCDCTL_API: '3' } },
    );
    return stdout;
  }

  /** It keeps its connections but answers nothing, until `thaw`. */
  freeze(): void {
    this.#process?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#process?.kill('SIGCONT');
  }

  async #accepts(): Promise<void> {
    if (this.#options.tls) {
      await this.ctl('endpoint', 'health');
      return;
    }
    const response = await fetch(`${this.endpoint}/health`);
    // A full etcd is not healthy, but it is there.
    if (!/true|NOSPACE/.test(await response.text())) throw new Error('etcd is not healthy');
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
