import { chmod, mkdtemp, rename, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { hasCode, messageOf, SpleniumError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { isServed } from '../disk/served-socket.js';

/** The debug socket cannot be opened: the message names its path. */
export class SnapshotSocketError extends SpleniumError {
  override readonly code = 'SNAPSHOT_SOCKET_FAILED';
  override readonly pythonName = 'RuntimeError';
}

export interface SnapshotSocketOptions {
  readonly path: string;
  /** What each client gets; nothing: the connection is closed without data. */
  readonly text: () => string;
  readonly logger: Logger;
}

const OWNER_ONLY = 0o600;
const MAX_CONNECTIONS = 8;
/** For a client that does not read. */
const IDLE_MS = 10_000;
/** Longest path of a UNIX socket on Linux, without the closing zero. */
const MAX_PATH_BYTES = 107;

/**
 * Writes one document to whoever connects, and closes (spec/rpc-functions.md 6.1). Only the daemon's user may connect;
 * nothing that a client sends is looked at.
 */
export class SnapshotSocket {
  readonly path: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(options: SnapshotSocketOptions) {
    this.path = options.path;
    this.#server = createServer((socket) => {
      this.#write(socket, options);
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /**
   * Takes the place of a socket that nobody serves any more.
   * @throws SnapshotSocketError, also when another daemon serves one there.
   */
  static async open(options: SnapshotSocketOptions): Promise<SnapshotSocket> {
    const { path } = options;
    const snapshots = new SnapshotSocket(options);
    // Nobody can connect before the mode is set: a directory that only we may enter is where it begins.
    const draft = await mkdtemp(join(dirname(path), '.s')).catch((error: unknown) => {
      throw refused(path, messageOf(error), error);
    });
    try {
      const first = join(draft, 's');
      if (Buffer.byteLength(path) > MAX_PATH_BYTES || Buffer.byteLength(first) > MAX_PATH_BYTES)
        throw refused(path, `it is longer than ${String(MAX_PATH_BYTES)} bytes: choose a shorter directory`);
      if (await isServed(path)) throw refused(path, 'another daemon serves it: give each its own directory');
      await new Promise<void>((resolve, reject) => {
        snapshots.#server.once('error', reject);
        snapshots.#server.listen(first, () => {
          snapshots.#server.off('error', reject);
          resolve();
        });
      });
      await chmod(first, OWNER_ONLY);
      await rename(first, path);
      return snapshots;
    } catch (error) {
      snapshots.#server.close();
      throw hasCode(error, 'SNAPSHOT_SOCKET_FAILED') ? error : refused(path, messageOf(error), error);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
    await rm(this.path, { force: true });
  }

  #write(socket: Socket, { text, logger }: SnapshotSocketOptions): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined);
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    socket.resume();
    try {
      socket.end(text());
    } catch (error) {
      logger.error('the debug snapshot could not be made', { error: messageOf(error) });
      socket.destroy();
    }
  }
}

const refused = (path: string, why: string, cause?: unknown) =>
  new SnapshotSocketError(`the debug socket ${path} cannot be opened: ${why}`, { cause });
