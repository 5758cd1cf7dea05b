import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { within } from '../../core/async.js';
import { hasCode, messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { KernelCreationError } from '../errors.js';
import type { PlannedRelay } from './plan-mounts.js';

const START_TIMEOUT_MS = 15_000;

/**
 * What one relay runs: listens at the first path and carries every byte to and from the second. Either side that ends
 * ends the other.
 */
const PROGRAM = `
const [listen, target] = process.argv.slice(1);
const { createServer, connect } = require('node:net');
const server = createServer((inner) => {
  const outer = connect(target);
  for (const [one, other] of [[inner, outer], [outer, inner]])
    one.on('error', () => other.destroy()).on('close', () => other.destroy()).pipe(other);
});
server.listen(listen, () => {
  require('node:fs').chmodSync(listen, 0o666);
  process.stdout.write('ready');
});
`;

/**
 * Sockets of this machine inside kernels (spec/kernel-lifecycle.md 2.9). A container holds the socket file itself, and
 * nobody can listen on the same file twice; so each relay is a process of its own that goes on while this one is
 * restarted, as the kernel does, and is found again by the note beside its socket.
 */
export class SocketRelays {
  readonly #logger: Logger;
  readonly #nodePath: string;

  constructor(logger: Logger, nodePath = process.execPath) {
    this.#logger = logger;
    this.#nodePath = nodePath;
  }

  /** Starts those that do not run. @throws KernelCreationError naming the socket; then none is left of these. */
  async open(relays: readonly PlannedRelay[]): Promise<void> {
    try {
      for (const relay of relays) if ((await this.#pidOf(relay)) === null) await this.#start(relay);
    } catch (error) {
      await this.close(relays);
      throw new KernelCreationError(`a domain socket proxy cannot be opened: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** After a restart of this program: a relay that has died meanwhile is of no use to the container that held it. */
  async reopen(relays: readonly PlannedRelay[]): Promise<void> {
    for (const relay of relays) {
      if ((await this.#pidOf(relay)) !== null) continue;
      this.#logger.warn('a domain socket proxy has ended; the kernel reaches the new one after its restart', {
        socket: relay.socket,
      });
      await this.open([relay]);
    }
  }

  /** Idempotent. */
  async close(relays: readonly PlannedRelay[]): Promise<void> {
    for (const relay of relays) {
      const pid = await this.#pidOf(relay);
      if (pid !== null) end(pid);
      await rm(relay.path, { force: true });
      await rm(noteOf(relay), { force: true });
    }
  }

  async #start({ socket, path }: PlannedRelay): Promise<void> {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await rm(path, { force: true });
    const child = spawn(this.#nodePath, ['-e', PROGRAM, path, socket], {
      cwd: '/',
      env: {},
      detached: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const ended = once(child, 'exit').then(() => {
      throw new KernelCreationError(`the relay to ${socket} ended at once`);
    });
    ended.catch(() => undefined);
    await within(Promise.race([once(child.stdout, 'data'), ended]), {
      timeoutMs: START_TIMEOUT_MS,
      what: `starting the relay to ${socket}`,
    }).catch((error: unknown) => {
      child.kill('SIGKILL');
      throw error;
    });
    child.stdout.destroy();
    child.unref();
    await writeFile(noteOf({ path }), String(child.pid), { mode: 0o600 });
  }

  /** Null when it does not run; a pid that is another's by now does not count. */
  async #pidOf(relay: PlannedRelay): Promise<number | null> {
    const text = await readFile(noteOf(relay), 'utf8').catch(() => '');
    if (!/^[1-9]\d*$/.test(text)) return null;
    const command = await readFile(`/proc/${text}/cmdline`, 'utf8').catch(() => '');
    return command.split('\0').includes(relay.path) ? Number(text) : null;
  }
}

const noteOf = ({ path }: { readonly path: string }): string => `${path}.pid`;

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}
