import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { DockerEngine } from './docker-engine.js';
import { freePort } from './free-port.js';

const SCRIPT = fileURLToPath(new URL('../../scripts/manager-stack', import.meta.url));
/** The schema alone takes a minute on a small machine; the first start of all installs the app proxy, too. */
export const STACK_START_MS = 900_000;
const PORTS = 16;

const run = promisify(execFile);

/** A release of the manager and what `splenium.manager-version` says for it. */
export interface ManagerRelease {
  readonly version: string;
  readonly dialect: string;
}

/**
 * An unmodified manager with its app proxy, by `scripts/manager-stack`; one at a time, so that those of one release that
 * come after each other share it.
 */
export class ManagerStack {
  #version = '';
  #directory = '';
  #words: Readonly<Record<string, string>> = {};

  /** What an agent and the original's client need of it; `engine` makes its overlay networks. */
  async of({ version }: ManagerRelease, engine?: DockerEngine): Promise<Readonly<Record<string, string>>> {
    if (this.#version === version) return this.#words;
    await this.down();
    this.#directory = await mkdtemp(join(tmpdir(), 'splenium-manager-'));
    this.#version = version;
    const options = ['--version', version, '--dir', this.#directory, '--port', String(await freePorts())];
    const host = engine ? ['--docker-host', `unix://${engine.socketPath}`] : [];
    const { stdout } = await run(SCRIPT, ['up', '--app-proxy', ...options, ...host], {
      timeout: STACK_START_MS,
    });
    this.#words = assignments(stdout);
    return this.#words;
  }

  async down(): Promise<void> {
    if (this.#directory === '') return;
    await run(SCRIPT, ['down', '--dir', this.#directory, '--purge']);
    await rm(this.#directory, { recursive: true, force: true });
    this.#directory = this.#version = '';
  }
}

/** The first of several free ports in a row, below those that the system hands out itself. */
async function freePorts(): Promise<number> {
  const start = 10_000 + ((await freePort()) % 500) * PORTS;
  for (let base = start; base < start + 2000; base += PORTS) {
    const taken = await Promise.all(Array.from({ length: PORTS }, (_, at) => isTaken(base + at)));
    if (!taken.includes(true)) return base;
  }
  throw new Error('no free ports');
}

async function isTaken(port: number): Promise<boolean> {
  return run('bash', ['-c', `exec 3<>/dev/tcp/127.0.0.1/${String(port)}`]).then(
    () => true,
    () => false,
  );
}

/** `export A=1 B=2` lines. */
const assignments = (text: string): Record<string, string> =>
  Object.fromEntries(
    [...text.matchAll(/(?<=\s)(?<name>[A-Z_]+)=(?<value>\S+)/g)].map((found) => [
      found.groups?.['name'] ?? '',
      found.groups?.['value'] ?? '',
    ]),
  );
