import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateKeyPair, type KeyPair, writeKeyFiles } from '../../src/callosum/index.js';
import { AgentClient, type AgentClientOptions } from '../../src/client/agent-client.js';
import { within } from '../../src/core/async.js';
import { eventually } from './eventually.js';
import { freePort, freeStretch } from './free-port.js';

const DIST = fileURLToPath(new URL('../../dist/', import.meta.url));

export interface TestDaemonOptions {
  /** Default: `i-one` and `i-two`. */
  readonly agentIds?: readonly string[];
  /** Further TOML, appended to the file; `[agent]` and `[splenium]` keys go into their own options. */
  readonly toml?: string;
  readonly agentKeys?: readonly string[];
  readonly spleniumKeys?: readonly string[];
  readonly curve?: boolean;
  /** A container engine for the docker backend. Default: the process backend. */
  readonly engine?: { readonly socketPath: string };
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * The built daemon as a process of its own, with a directory, keys and ports of its own. Killing and starting it again
 * keeps the directory, so that a test can look at what survives.
 */
export class TestDaemon {
  readonly directory: string;
  readonly configPath: string;
  readonly stateDirectory: string;
  readonly scratchRoot: string;
  readonly address: string;
  readonly agentIds: readonly string[];
  readonly manager: KeyPair;
  readonly #serverPublicKey: string | null;
  readonly #env: Readonly<Record<string, string>>;
  #process: ChildProcess | undefined;
  #log = '';

  private constructor(
    directory: string,
    port: number,
    keys: { readonly manager: KeyPair; readonly server: KeyPair | null },
    options: TestDaemonOptions,
  ) {
    this.directory = directory;
    this.configPath = join(directory, 'agent.toml');
    this.stateDirectory = join(directory, 'state');
    this.scratchRoot = join(directory, 'scratches');
    this.address = `tcp://127.0.0.1:${String(port)}`;
    this.agentIds = options.agentIds ?? ['i-one', 'i-two'];
    this.manager = keys.manager;
    this.#serverPublicKey = keys.server?.publicKey ?? null;
    this.#env = {
      ...(options.engine ? { DOCKER_HOST: `unix://${options.engine.socketPath}` } : {}),
      ...options.env,
    };
  }

  /** Writes keys and configuration and starts the daemon; resolves when it serves. */
  static async start(options: TestDaemonOptions = {}): Promise<TestDaemon> {
    const daemon = await TestDaemon.prepare(options);
    try {
      await daemon.resume();
    } catch (error) {
      await daemon.dispose();
      throw error;
    }
    return daemon;
  }

  /** The same without starting it. */
  static async prepare(options: TestDaemonOptions = {}): Promise<TestDaemon> {
    if (!existsSync(join(DIST, 'main.js'))) throw new Error('the program is not built: npm run build');
    const directory = await mkdtemp(join(tmpdir(), 'splenium-daemon-'));
    const port = await freePort();
    const keys = { manager: generateKeyPair(), server: options.curve === false ? null : generateKeyPair() };
    const daemon = new TestDaemon(directory, port, keys, options);
    const keyDirectory = join(directory, 'keys');
    await mkdir(keyDirectory, { mode: 0o700 });
    await writeKeyFiles(keyDirectory, 'manager', keys.manager);
    if (keys.server) await writeKeyFiles(keyDirectory, 'agent', keys.server);
    const curve = keys.server
      ? [
          `rpc-auth-agent-keypair = "${join(keyDirectory, 'agent.key_secret')}"`,
          `rpc-auth-manager-public-key = "${join(keyDirectory, 'manager.key')}"`,
        ]
      : [];
    const agentSockets = daemon.agentIds.map((_, index) => 300 + index);
    const firstPort = await freeStretch(400, [...agentSockets, 399]);
    const agents = daemon.agentIds.flatMap((id, index) => [
      '[[agents]]',
      '[agents.agent]',
      `id = "${id}"`,
      '[agents.container]',
      `port-range = [${String(firstPort + index * 100)}, ${String(firstPort + index * 100 + 99)}]`,
      ...(options.agentKeys ?? []),
    ]);
    const single = daemon.agentIds.length === 1;
    await writeFile(
      daemon.configPath,
      [
        '[agent]',
        `backend = "${options.engine ? 'docker' : 'process'}"`,
        `rpc-listen-addr = "127.0.0.1:${String(port)}"`,
        ...(single ? [`id = "${daemon.agentIds[0] ?? ''}"`] : []),
        ...curve,
        // What the docker backend opens besides: nothing that a second daemon of this machine may have, too.
        ...(options.engine
          ? [
              `ipc-base-path = "${join(directory, 'ipc')}"`,
              'metadata-server-bind-host = "127.0.0.1"',
              `metadata-server-port = ${String(firstPort + 399)}`,
              `agent-sock-port = ${String(firstPort + 300)}`,
            ]
          : []),
        '[container]',
        `scratch-root = "${daemon.scratchRoot}"`,
        ...(single ? [`port-range = [${String(firstPort)}, ${String(firstPort + 99)}]`] : []),
        '[resource]',
        'reserved-cpu = 0',
        'reserved-mem = "64M"',
        '[splenium]',
        `state-dir = "${daemon.stateDirectory}"`,
        ...(options.spleniumKeys ?? []),
        options.toml ?? '',
        ...(single ? [] : agents),
        '',
      ].join('\n'),
    );
    return daemon;
  }

  /** Starts the process and waits until it serves. */
  async resume(): Promise<void> {
    const child = spawn(process.execPath, [join(DIST, 'main.js'), 'start', '--config', this.configPath], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.#env },
      cwd: this.directory,
    });
    this.#process = child;
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#log += text;
    });
    const ready = new Promise<void>((resolve, reject) => {
      child.stdout.on('data', () => {
        if (out.includes('ready: ')) resolve();
      });
      child.once('close', (code, signal) => {
        reject(new Error(`the daemon ended with ${String(code ?? signal)}:\n${this.#log}`));
      });
    });
    await within(ready, { timeoutMs: 60_000, what: 'the start of the daemon' });
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error('the daemon does not run');
    return pid;
  }

  /** What it has logged so far, over all its starts. */
  get log(): string {
    return this.#log;
  }

  /** A client as the manager, or with keys of its own. The caller closes it. */
  client(
    agentId: string | null = null,
    keys: KeyPair = this.manager,
    more: Pick<AgentClientOptions, 'retries'> = {},
  ): AgentClient {
    return new AgentClient({
      ...more,
      address: this.address,
      agentId,
      ...(this.#serverPublicKey === null
        ? {}
        : { curve: { ...keys, serverPublicKey: this.#serverPublicKey } }),
    });
  }

  /** For programs that want it: Z85, null without CURVE. */
  get serverPublicKey(): string | null {
    return this.#serverPublicKey;
  }

  /** Stops it as an operator would; resolves with its exit code. */
  stop(): Promise<number | null> {
    return this.#end('SIGTERM');
  }

  /** It lives on but does nothing, until `thaw`. */
  freeze(): void {
    process.kill(this.pid, 'SIGSTOP');
  }

  thaw(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  /** As the kernel would when memory runs out. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Ends the daemon and all its kernels, and removes its directory. */
  async dispose(): Promise<void> {
    await this.kill();
    for (const pid of await this.kernelProcesses())
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    await eventually(async () => {
      if ((await this.kernelProcesses()).length > 0) throw new Error('kernels of the test are still there');
    });
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Ids of all processes that mention this daemon's directory, the daemon excepted. */
  async kernelProcesses(): Promise<readonly number[]> {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
    const found: number[] = [];
    for (const pid of pids) {
      if (pid === process.pid || pid === this.#process?.pid) continue;
      const texts = await Promise.all(
        ['cmdline', 'environ'].map((file) =>
          readFile(`/proc/${String(pid)}/${file}`, 'utf8').catch(() => ''),
        ),
      );
      if (texts.some((text) => text.includes(this.directory))) found.push(pid);
    }
    return found;
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
    return child.exitCode;
  }
}
