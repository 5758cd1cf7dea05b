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

/** One of several that are one etcd: its name, and the ports between them by name. */
interface Membership {
  readonly name: string;
  readonly peerPorts: ReadonlyMap<string, number>;
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
  readonly #membership: Membership;
  #process: ChildProcess | undefined;

  private constructor(
    directory: string,
    ports: readonly [number, number],
    options: EtcdServerOptions,
    membership?: Membership,
  ) {
    this.#membership = membership ?? { name: 'default', peerPorts: new Map([['default', ports[1]]]) };
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

  /** Several members of one etcd. It serves as long as most of them do. */
  static async startCluster(size: number): Promise<readonly EtcdServer[]> {
    const peerPorts = new Map<string, number>();
    for (let place = 0; place < size; place += 1) peerPorts.set(`m${String(place)}`, await freePort());
    const members = await Promise.all(
      [...peerPorts].map(async ([name, peerPort]) => {
        const directory = await mkdtemp(join(tmpdir(), 'splenium-etcd-'));
        return new EtcdServer(directory, [await freePort(), peerPort], {}, { name, peerPorts });
      }),
    );
    await Promise.all(members.map((member) => member.resume()));
    return members;
  }

  /** Of a cluster: is it the one that orders the writes of all? */
  async isLeader(): Promise<boolean> {
    const answer = JSON.parse(await this.ctl('endpoint', 'status', '--write-out=json')) as readonly [
      { readonly Status: { readonly leader: number; readonly header: { readonly member_id: number } } },
    ];
    const { leader, header } = answer[0].Status;
    return leader === header.member_id;
  }

  get port(): number {
    return this.#ports[0];
  }

  /** Starts the process again after `kill`, with the data it had. */
  async resume(): Promise<void> {
    const [, peerPort] = this.#ports;
    const peerUrl = (port: number) => `http://127.0.0.1:${String(port)}`;
    const peer = peerUrl(peerPort);
    const { name, peerPorts } = this.#membership;
    const options = {
      name,
      'data-dir': join(this.#directory, 'data'),
      'listen-client-urls': this.endpoint,
      'advertise-client-urls': this.endpoint,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': [...peerPorts].map(([one, port]) => `${one}=${peerUrl(port)}`).join(','),
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
