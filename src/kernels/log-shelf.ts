import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../core/errors.js';
import { asContainerId, parseAgentId, parseKernelId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import { syncDirectory, writeWhole } from '../disk/whole-file.js';
import type { LogOwner } from './lifecycle/parts.js';

export interface LogShelfLimits {
  readonly maxLogs: number;
  /** Of all logs together. */
  readonly maxBytes: number;
  readonly maxAgeMs: number;
}

export interface ShelvedLog extends LogOwner {
  /** When it was put there, milliseconds since the epoch. */
  readonly atMs: number;
  /** Of the log alone. */
  readonly bytes: number;
  readonly path: string;
}

/** Why a log is given up before anybody had it. */
export type LogLoss = 'count' | 'size' | 'age' | 'unreadable';

interface LogShelfParts {
  readonly directory: string;
  readonly limits: LogShelfLimits;
  /** Hears of each log that is given up. */
  readonly onLoss: (log: ShelvedLog, loss: LogLoss) => void;
  readonly logger: Logger;
}

/** The first line of a file; what follows is the log, byte for byte. */
const headerSchema = z.object({
  version: z.literal(1),
  agentId: z.string().transform(parseAgentId),
  kernelId: z.string().transform(parseKernelId),
  containerId: z.string().transform(asContainerId),
  atMs: z.number(),
});
const HEADER_BYTES = 4096;
const SUFFIX = '.log';

/**
 * Logs of ended kernels on disk, one file each, within bounds of number, size and age; at a bound the oldest goes. One
 * container has one log: a later one replaces it. Nothing of a log but where it lies is held in memory.
 */
export class LogShelf {
  readonly #parts: LogShelfParts;
  /** By container id, oldest first. */
  readonly #logs = new Map<string, ShelvedLog>();
  /** Of this process: tells logs of one millisecond apart. */
  #puts = 0;
  /** Puts come one after the other, so that together they keep the bounds. */
  #tail: Promise<void> = Promise.resolve();

  private constructor(parts: LogShelfParts) {
    this.#parts = parts;
  }

  /** With what an earlier process left. What cannot be read is reported and removed. @throws the system's error. */
  static async open(parts: LogShelfParts): Promise<LogShelf> {
    const { directory, logger } = parts;
    const shelf = new LogShelf(parts);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const found: ShelvedLog[] = [];
    for (const name of await readdir(directory)) {
      const path = join(directory, name);
      try {
        // What a crash left half written ends otherwise.
        if (name.endsWith(SUFFIX)) found.push(await readHeader(path));
        else await rm(path, { force: true, recursive: true });
      } catch (error) {
        logger.error('a kept log cannot be read and is removed', { path, error: messageOf(error) });
        await rm(path, { force: true, recursive: true });
      }
    }
    for (const log of found.sort(byAge)) {
      const older = shelf.#logs.get(log.containerId);
      if (older) await shelf.remove(older);
      shelf.#logs.set(log.containerId, log);
    }
    await shelf.#makeRoom({ logs: 0, bytes: 0 });
    return shelf;
  }

  get logs(): readonly ShelvedLog[] {
    return [...this.#logs.values()];
  }

  get bytes(): number {
    let total = 0;
    for (const { bytes } of this.#logs.values()) total += bytes;
    return total;
  }

  /**
   * Resolves once the log is on disk.
   * @throws RangeError for one that is larger than all may be; the system's error. An earlier log of the container is
   * then still there.
   */
  put(owner: LogOwner, content: Uint8Array, atMs: number): Promise<void> {
    const done = this.#tail.then(() => this.#put(owner, content, atMs));
    this.#tail = done.catch(() => undefined);
    return done;
  }

  async #put(owner: LogOwner, content: Uint8Array, atMs: number): Promise<void> {
    const { directory, limits } = this.#parts;
    const { agentId, kernelId, containerId } = owner;
    if (content.length > limits.maxBytes)
      throw new RangeError(
        `the log of ${containerId} has ${String(content.length)} bytes, and no more than ${String(limits.maxBytes)} are kept`,
      );
    const place = String(this.#puts++).padStart(6, '0');
    const path = join(directory, `${String(atMs)}-${place}-${randomUUID()}${SUFFIX}`);
    const header = `${JSON.stringify({ version: 1, agentId, kernelId, containerId, atMs })}\n`;
    await this.#makeRoom({ logs: 1, bytes: content.length });
    await writeWhole(path, Buffer.concat([Buffer.from(header), content]));
    await syncDirectory(directory);
    const older = this.#logs.get(containerId);
    if (older) await this.remove(older);
    this.#logs.set(containerId, { agentId, kernelId, containerId, atMs, bytes: content.length, path });
  }

  /** @throws the system's error. */
  async read({ path }: ShelvedLog): Promise<Uint8Array> {
    const content = await readFile(path);
    return content.subarray(content.indexOf('\n') + 1);
  }

  /** One that is not there is fine. @throws the system's error. */
  async remove(log: ShelvedLog): Promise<void> {
    await rm(log.path, { force: true });
    if (this.#logs.get(log.containerId) === log) this.#logs.delete(log.containerId);
  }

  /** Gives up a log that nobody has had. */
  async lose(log: ShelvedLog, loss: LogLoss): Promise<void> {
    await this.remove(log);
    this.#parts.onLoss(log, loss);
  }

  /** Gives up the logs that are too old. */
  async expire(nowMs: number): Promise<void> {
    for (const log of this.logs)
      if (nowMs - log.atMs > this.#parts.limits.maxAgeMs) await this.lose(log, 'age');
  }

  async #makeRoom(coming: { readonly logs: number; readonly bytes: number }): Promise<void> {
    const { maxLogs, maxBytes } = this.#parts.limits;
    for (const log of this.logs) {
      if (this.#logs.size + coming.logs > maxLogs) await this.lose(log, 'count');
      else if (this.bytes + coming.bytes > maxBytes) await this.lose(log, 'size');
      else return;
    }
  }
}

/** Those of one millisecond in the order of their names. */
const byAge = (a: ShelvedLog, b: ShelvedLog): number =>
  a.atMs - b.atMs || (basename(a.path) < basename(b.path) ? -1 : 1);

async function readHeader(path: string): Promise<ShelvedLog> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    const end = buffer.subarray(0, bytesRead).indexOf('\n');
    const header = headerSchema.parse(JSON.parse(buffer.toString('utf8', 0, Math.max(0, end))));
    const { size } = await file.stat();
    return { ...header, bytes: size - end - 1, path };
  } finally {
    await file.close();
  }
}
