import { randomUUID } from 'node:crypto';
import { chmod, mkdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { hasCode, messageOf } from '../core/errors.js';
import { parseAgentId } from '../core/ids.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { writeWhole } from '../disk/whole-file.js';
import { DirectoryLock } from './directory-lock.js';
import { StateDirectoryError } from './errors.js';
import { stateLayout } from './state-layout.js';
import type { PublishedEndpoint, StateLayout } from './state-layout.js';

const agentIds = z.object({ version: z.literal(1), ids: z.array(z.string()) });
const OWNER_ONLY = 0o700;
/** Longest path of a Unix socket on Linux, without the closing zero. */
const MAX_SOCKET_PATH_BYTES = 107;

/** The directory in which one daemon keeps what outlives it. Nobody else may read it, and no second daemon enters. */
export class StateDirectory {
  readonly layout: StateLayout;
  readonly #lock: DirectoryLock;

  private constructor(layout: StateLayout, lock: DirectoryLock) {
    this.layout = layout;
    this.#lock = lock;
  }

  /**
   * Makes the directory where needed, takes its lock and removes what an earlier daemon said of its sockets.
   * @throws StateDirectoryInUseError, or StateDirectoryError when the directory cannot be made or written.
   */
  static async open(path: string, logger: Logger): Promise<StateDirectory> {
    const layout = stateLayout(resolve(path));
    try {
      for (const directory of [
        layout.root,
        dirname(layout.operatorKeyFile),
        layout.agentsDirectory,
        layout.socketsDirectory,
      ])
        await makePrivate(directory);
      const lock = await DirectoryLock.acquire(layout.lockFile, logger);
      await rm(layout.endpointFile, { force: true });
      return new StateDirectory(layout, lock);
    } catch (error) {
      if (hasCode(error, 'STATE_DIRECTORY_IN_USE')) throw error;
      throw new StateDirectoryError(
        `state directory ${layout.root}: ${messageOf(error)}; it has to be a directory that this user may write`,
        { cause: error, details: { path: layout.root } },
      );
    }
  }

  /**
   * The id of the agent at this place of the configuration that has none of its own: made up once, then kept.
   * @throws StateDirectoryError when the file with the ids is damaged.
   */
  async generatedAgentId(position: number): Promise<AgentId> {
    const ids = await this.#readAgentIds();
    while (ids.length <= position) ids.push(`agent-${randomUUID()}`);
    await writeJson(this.layout.agentIdsFile, { version: 1, ids });
    return parseAgentId(ids[position] ?? '');
  }

  /** `agents/<id>/kernels`, made where needed: the agent's journals. */
  async kernelsDirectory(agentId: AgentId): Promise<string> {
    const directory = join(this.layout.agentsDirectory, agentId, 'kernels');
    await makePrivate(directory);
    return directory;
  }

  /** @throws StateDirectoryError when the path is too long for a Unix socket. */
  socketPath(name: string): string {
    const path = join(this.layout.socketsDirectory, name);
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES)
      throw new StateDirectoryError(
        `socket path ${path} is longer than ${String(MAX_SOCKET_PATH_BYTES)} bytes: use a shorter state directory`,
      );
    return path;
  }

  /** Lets local programs find the daemon, until `close`. */
  async publishEndpoint(endpoint: PublishedEndpoint): Promise<void> {
    await writeJson(this.layout.endpointFile, { version: 1, pid: process.pid, ...endpoint });
  }

  /** Withdraws the endpoint and gives the lock back. Idempotent. */
  async close(): Promise<void> {
    await rm(this.layout.endpointFile, { force: true });
    await this.#lock.release();
  }

  async #readAgentIds(): Promise<string[]> {
    const file = this.layout.agentIdsFile;
    let content: string;
    try {
      content = await readFile(file, 'utf8');
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return [];
      throw error;
    }
    try {
      return agentIds.parse(JSON.parse(content)).ids;
    } catch (error) {
      // A made-up replacement would orphan every kernel that carries the old id.
      throw new StateDirectoryError(
        `${file} is damaged: restore it, or set agent.id to the id that the kernels of this node carry`,
        { cause: error, details: { file } },
      );
    }
  }
}

async function makePrivate(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: OWNER_ONLY });
  const { mode } = await stat(directory);
  // A directory that many share, such as /tmp, must not be taken from them.
  if ((mode & 0o1000) !== 0)
    throw new StateDirectoryError(`${directory} is shared with other users (sticky bit is set)`);
  if ((mode & 0o077) !== 0) await chmod(directory, OWNER_ONLY);
}

async function writeJson(file: string, content: unknown): Promise<void> {
  await writeWhole(file, `${JSON.stringify(content)}\n`);
}
