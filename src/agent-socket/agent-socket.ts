import { randomBytes } from 'node:crypto';
import { chmod, lstat, mkdir, rename, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Router } from 'zeromq';
import { hasCode, messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { isServed } from '../disk/served-socket.js';
import type { ContainerPids } from './container-pids.js';
import { AgentSocketError } from './errors.js';
import { type AgentQuestion, errorAnswer, parseQuestion, valueAnswer } from './protocol.js';

export interface AgentSocketOptions {
  readonly agentId: AgentId;
  /** `<ipc-base-path>/container`, made where needed. */
  readonly directory: string;
  /** On 127.0.0.1; null: none. */
  readonly tcpPort: number | null;
  /** The full id of the container of one of this agent's kernels, from the id or its beginning; null: it has none. */
  readonly findContainer: (id: string) => string | null;
  readonly pids: Pick<ContainerPids, 'toContainer' | 'toHost'>;
  readonly isJailEnabled: boolean;
  readonly logger: Logger;
}

const SOCKET_NAME = 'agent.sock';
const MAX_PART_BYTES = 4096;
/** Longest path of a UNIX socket on Linux, without the closing zero. */
const MAX_SOCKET_PATH_BYTES = 107;
const PAUSE_AFTER_ERROR_MS = 100;

/** The directory that kernels of the agent get, read-only, with the socket in it. */
export const socketDirectoryOf = (directory: string, agentId: AgentId): string =>
  join(directory, `agent.${agentId}`);

/**
 * Answers what kernels ask their agent (spec/kernel-lifecycle.md 5.11): a ROUTER that REQ sockets talk to, so that no
 * client can leave it in a state in which it answers nobody. Containers get the directory, not the socket in it: a
 * socket that is bound anew after a restart is another file, the directory stays the same.
 */
export class AgentSocket {
  readonly path: string;
  readonly #options: AgentSocketOptions;
  readonly #router: Router;
  #closed = false;

  private constructor(options: AgentSocketOptions, path: string) {
    this.#options = options;
    this.path = path;
    this.#router = new Router({ linger: 0, maxMessageSize: MAX_PART_BYTES, receiveHighWaterMark: 64 });
  }

  /**
   * Takes the place of a socket that nobody serves any more.
   * @throws AgentSocketError when the socket cannot be bound, also when another daemon serves one there.
   */
  static async open(options: AgentSocketOptions): Promise<AgentSocket> {
    const { agentId, directory, tcpPort, logger } = options;
    const own = socketDirectoryOf(directory, agentId);
    const path = join(own, SOCKET_NAME);
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES)
      throw new AgentSocketError(
        `agent ${agentId}: the socket path ${path} is longer than ${String(MAX_SOCKET_PATH_BYTES)} bytes: choose a shorter agent.ipc-base-path`,
      );
    // ZeroMQ would take it away from the daemon whose kernels have it.
    if (await isServed(path))
      throw new AgentSocketError(
        `agent ${agentId}: another daemon serves the socket ${path}: give each an agent.id or an agent.ipc-base-path of its own`,
      );
    const socket = new AgentSocket(options, path);
    try {
      // Users of this machine do not get in; kernels, whatever user they run as, see only the inner directory.
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await mkdir(own, { recursive: true });
      await chmod(own, 0o755);
      await socket.#router.bind(`ipc://${path}`);
      await chmod(path, 0o666);
      await link(`${own}.sock`, join(basename(own), SOCKET_NAME), logger);
    } catch (error) {
      socket.#router.close();
      throw new AgentSocketError(
        `agent ${agentId}: the socket ${path} cannot be opened: ${messageOf(error)}; agent.ipc-base-path has to be a local directory that this user may write`,
        { cause: error },
      );
    }
    try {
      if (tcpPort !== null) await socket.#router.bind(`tcp://127.0.0.1:${String(tcpPort)}`);
    } catch (error) {
      await socket.close();
      throw new AgentSocketError(
        `agent ${agentId}: port ${String(tcpPort)} of the agent socket cannot be opened: ${messageOf(error)}; set agent.agent-sock-port to a free port`,
        { cause: error },
      );
    }
    void socket.#serve();
    return socket;
  }

  /** The directory stays: containers have it. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#router.close();
    await rm(this.path, { force: true });
  }

  /** One question after another; neither a bad one nor an error of the socket ends the loop. */
  async #serve(): Promise<void> {
    const { agentId, logger } = this.#options;
    while (!this.#isClosed()) {
      try {
        const frames = await this.#router.receive();
        const start = frames.findIndex((frame) => frame.length === 0);
        // Without the empty part there is nobody to send an answer to that would read it.
        if (start < 1) continue;
        const answer = await this.#answer(frames.slice(start + 1));
        if (!this.#isClosed()) await this.#router.send([...frames.slice(0, start + 1), ...answer]);
      } catch (error) {
        if (this.#isClosed()) return;
        logger.error('the agent socket failed', { agentId, error: messageOf(error) });
        await new Promise((resolve) => setTimeout(resolve, PAUSE_AFTER_ERROR_MS));
      }
    }
  }

  async #answer(parts: readonly Uint8Array[]): Promise<readonly Uint8Array[]> {
    const parsed = parseQuestion(parts);
    if ('refusal' in parsed) return parsed.refusal;
    try {
      return await this.#ask(parsed.question);
    } catch (error) {
      const { agentId, logger } = this.#options;
      logger.error('a question to the agent socket failed', { agentId, error: messageOf(error) });
      return errorAnswer('the agent cannot tell');
    }
  }

  async #ask(question: AgentQuestion): Promise<readonly Uint8Array[]> {
    const { findContainer, pids, isJailEnabled } = this.#options;
    if (question.action === 'is-jail-enabled') return valueAnswer(isJailEnabled ? 1 : 0);
    // Who asks cannot be seen through ZeroMQ; that it is a kernel of this agent is what the socket's place tells.
    const containerId = findContainer(question.containerId);
    if (containerId === null) return errorAnswer('that is no container of a kernel of this agent');
    return valueAnswer(
      question.action === 'host-pid-to-container-pid'
        ? await pids.toContainer(containerId, question.pid)
        : await pids.toHost(containerId, question.pid),
    );
  }

  /** Asked through a method because it changes while the loop waits. */
  #isClosed(): boolean {
    return this.#closed;
  }
}

/** The name that the original gives the socket, for programs of this machine. What another program has put there stays. */
async function link(path: string, target: string, logger: Logger): Promise<void> {
  const present = await lstat(path).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  });
  if (present !== null && !present.isSymbolicLink()) {
    logger.warn('another program has made the agent socket: it stays as it is', { path });
    return;
  }
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  await symlink(target, draft);
  await rename(draft, path);
}
