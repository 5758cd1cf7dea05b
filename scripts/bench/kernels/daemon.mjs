// The daemon of the benchmark: a process of its own with the docker backend, as an operator starts it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateKeyPair, writeKeyFiles } from '../../../dist/callosum/index.js';
import { AgentClient } from '../../../dist/client/agent-client.js';
import { IMAGE } from './engine.mjs';

const MAIN = fileURLToPath(new URL('../../../dist/main.js', import.meta.url));
const LABELS = { 'ai.backend.runtime-type': 'shell', 'ai.backend.runtime-path': '/bin/sh' };
const SLOTS = { cpu: '1', mem: String(128 * 1024 ** 2) };

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

export class Daemon {
  #process;
  #client;
  #metrics;
  scratchRoot;

  static async start({ directory, socketPath, portRange, agentId = 'i-bench' }) {
    const daemon = new Daemon();
    mkdirSync(join(directory, 'keys'), { recursive: true, mode: 0o700 });
    const keys = { agent: generateKeyPair(), manager: generateKeyPair() };
    for (const [name, pair] of Object.entries(keys)) await writeKeyFiles(join(directory, 'keys'), name, pair);
    const [rpcPort, httpPort] = [await freePort(), await freePort()];
    daemon.scratchRoot = join(directory, 'scratch');
    const file = join(directory, 'agent.toml');
    writeFileSync(
      file,
      `[agent]
backend = "docker"
id = "${agentId}"
rpc-listen-addr = "127.0.0.1:${rpcPort}"
rpc-auth-agent-keypair = "${join(directory, 'keys', 'agent.key_secret')}"
rpc-auth-manager-public-key = "${join(directory, 'keys', 'manager.key')}"
ipc-base-path = "${join(directory, 'ipc')}"
metadata-server-bind-host = "127.0.0.1"
metadata-server-port = ${await freePort()}
agent-sock-port = ${await freePort()}
[container]
bind-host = "127.0.0.1"
scratch-root = "${daemon.scratchRoot}"
port-range = [${portRange.join(', ')}]
[resource]
reserved-cpu = 0
reserved-mem = "64M"
[logging]
level = "WARNING"
[splenium]
state-dir = "${join(directory, 'state')}"
http-addr = "127.0.0.1:${httpPort}"
`,
    );
    daemon.#process = spawn(process.execPath, [MAIN, 'start', '--config', file], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'inherit'],
      // Eight kernels also on a machine of two cores.
      env: { ...process.env, DOCKER_HOST: `unix://${socketPath}`, BACKEND_CPU_OVERCOMMIT_FACTOR: '10' },
    });
    let out = '';
    for await (const chunk of daemon.#process.stdout) if ((out += chunk).includes('ready: ')) break;
    if (!out.includes('ready: ')) throw new Error('the daemon did not start');
    daemon.#process.stdout.resume();
    daemon.#client = new AgentClient({
      address: `tcp://127.0.0.1:${rpcPort}`,
      agentId,
      curve: { ...keys.manager, serverPublicKey: keys.agent.publicKey },
    });
    daemon.#metrics = `http://127.0.0.1:${httpPort}/metrics`;
    return daemon;
  }

  create() {
    return this.#client.createKernel({ image: IMAGE, labels: LABELS, resourceSlots: SLOTS });
  }

  remove(kernel) {
    return this.#client.destroyKernel(kernel);
  }

  /** Milliseconds of CPU that the process has taken so far. */
  cpuMs() {
    const [user, system] = readFileSync(`/proc/${this.#process.pid}/stat`, 'utf8').split(' ').slice(13);
    return (Number(user) + Number(system)) * 10;
  }

  /** Step -> how often it has ended so far, and how many milliseconds that took in all. */
  async steps() {
    const text = await (await fetch(this.#metrics)).text();
    const steps = {};
    for (const [, part, step, value] of text.matchAll(
      /^splenium_kernel_step_seconds_(sum|count)\{[^}]*step="([^"]+)"[^}]*\} (\S+)$/gm,
    )) {
      steps[step] ??= { count: 0, ms: 0 };
      if (part === 'sum') steps[step].ms = Number(value) * 1000;
      else steps[step].count = Number(value);
    }
    return steps;
  }

  async stop() {
    await this.#client?.close();
    if (this.#process.exitCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await exited;
  }
}
