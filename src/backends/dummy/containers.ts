import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { hasCode, messageOf } from '../../core/errors.js';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../../core/ids.js';
import type { AgentId, ContainerId, KernelId } from '../../core/ids.js';
import { KeyedQueue } from '../../core/keyed-queue.js';
import type { Logger } from '../../core/logger.js';
import { writeWhole } from '../../disk/whole-file.js';
import type { KernelDetails, KernelHandle } from '../backend.js';

/** One container that exists only in memory. */
export interface DummyContainer {
  readonly handle: KernelHandle;
  readonly environment: Readonly<Record<string, string>>;
  readonly runtimeType: string;
  /** What it was made of; null for one of an earlier release. */
  readonly details: KernelDetails | null;
  /** Of the process that runs; null: it does not. No process of this machine has it. */
  readonly pid: number | null;
  /** Seconds on the clock of the machine since its start. */
  readonly startedAtSec: number;
  /** How it ended last; null while it runs and before its first start. */
  readonly exit: { readonly exitCode: number; readonly detail: string } | null;
  /** The end of what it has written. */
  readonly log: string;
  /** The runner inside answers. */
  readonly hasRunner: boolean;
}

export interface DummyExit {
  readonly container: DummyContainer;
  readonly exitCode: number;
  readonly detail: string;
}

/** Above every pid of a real machine. */
const FIRST_PID = 2 ** 23;
const LOG_MAX_CHARS = 65_536;

const detailsSchema = z.object({
  scratch: z.string().nullable(),
  labels: z.record(z.string(), z.string()),
  image: z.string().nullable(),
  hostname: z.string().nullable(),
  environment: z.record(z.string(), z.string()),
  published: z.array(z.object({ containerPort: z.int(), hostPort: z.int() })),
  network: z.string().nullable(),
  shmBytes: z.number().nullable(),
  createdAtMs: z.number().nullable(),
});
const containerSchema = z.object({
  handle: z.object({
    version: z.literal(1),
    backend: z.literal('dummy'),
    agentId: z.string().transform(parseAgentId),
    kernelId: z.string().transform(parseKernelId),
    sessionId: z.string().transform(parseSessionId),
    containerId: z.string().transform(asContainerId),
    state: z.record(z.string(), z.unknown()),
  }),
  environment: z.record(z.string(), z.string()),
  runtimeType: z.string(),
  details: detailsSchema.nullable().default(null),
  pid: z.int().nullable(),
  startedAtSec: z.number(),
  exit: z.object({ exitCode: z.int(), detail: z.string() }).nullable(),
  log: z.string(),
  hasRunner: z.boolean(),
});
const fileSchema = z.object({ version: z.literal(1), container: containerSchema });

/**
 * What stands in for a container engine: containers in memory, one JSON file each, so that they "go on running" while
 * the daemon is restarted. A backend comes and goes; the containers stay.
 */
export class DummyContainers {
  readonly #directory: string | null;
  readonly #logger: Logger;
  readonly #containers = new Map<ContainerId, DummyContainer>();
  /** Further processes of a container, by pid. */
  readonly #others = new Map<number, ContainerId>();
  readonly #listeners = new Set<(exit: DummyExit) => void>();
  readonly #files = new KeyedQueue<ContainerId>();
  #lastPid = FIRST_PID;
  #opened: Promise<void> | null = null;

  /** `directory` null: nothing is kept beyond this process. */
  constructor(options: { readonly directory: string | null; readonly logger: Logger }) {
    this.#directory = options.directory;
    this.#logger = options.logger;
  }

  /** Brings back what an earlier process has left. Idempotent. */
  open(): Promise<void> {
    this.#opened ??= this.#load();
    return this.#opened;
  }

  /** Resolves when all is written. */
  async idle(): Promise<void> {
    await this.#files.idle();
  }

  onExit(listener: (exit: DummyExit) => void): () => void {
    const own = (exit: DummyExit) => {
      listener(exit);
    };
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  async add(container: DummyContainer): Promise<void> {
    await this.#put(container);
  }

  find(id: ContainerId): DummyContainer | undefined {
    return this.#containers.get(id);
  }

  ofKernel(kernelId: KernelId): DummyContainer | undefined {
    return [...this.#containers.values()].find(({ handle }) => handle.kernelId === kernelId);
  }

  /** Is a kernel made of it, alive or dead? */
  uses(image: string): boolean {
    return [...this.#containers.values()].some(({ details }) => details?.image === image);
  }

  ofAgent(agentId: AgentId): readonly DummyContainer[] {
    return [...this.#containers.values()].filter(({ handle }) => handle.agentId === agentId);
  }

  /** Nothing happens to one that runs or is gone. */
  async start(id: ContainerId, startedAtSec: number, hasRunner: boolean): Promise<void> {
    const container = this.#containers.get(id);
    if (!container || container.pid !== null) return;
    await this.#put({ ...container, pid: this.#nextPid(), startedAtSec, exit: null, hasRunner });
  }

  /** Ends all its processes. Nothing happens to one that does not run. */
  async exit(id: ContainerId, exitCode: number, detail: string): Promise<void> {
    const container = this.#containers.get(id);
    if (!container || container.pid === null) return;
    for (const [pid, owner] of this.#others) if (owner === id) this.#others.delete(pid);
    const ended: DummyContainer = { ...container, pid: null, exit: { exitCode, detail } };
    const written = this.#put(ended);
    for (const listener of [...this.#listeners]) listener({ container: ended, exitCode, detail });
    await written;
  }

  /** Nothing happens to one that is gone. */
  async remove(id: ContainerId): Promise<void> {
    await this.exit(id, -9, 'removed');
    if (!this.#containers.delete(id)) return;
    const path = this.#path(id);
    if (path !== null) await this.#files.run(id, () => rm(path, { force: true }));
  }

  // What happens inside a container: for whoever plays a part in it.

  write(id: ContainerId, text: string): void {
    const container = this.#containers.get(id);
    if (!container || container.pid === null) return;
    this.#containers.set(id, { ...container, log: `${container.log}${text}`.slice(-LOG_MAX_CHARS) });
  }

  /** One more process. @returns its pid; null when the container does not run. */
  fork(id: ContainerId): number | null {
    if (this.#containers.get(id)?.pid == null) return null;
    const pid = this.#nextPid();
    this.#others.set(pid, id);
    return pid;
  }

  isAlive(pid: number): boolean {
    return this.#others.has(pid) || [...this.#containers.values()].some((one) => one.pid === pid);
  }

  /** The end of the first process is the end of its container. */
  async kill(pid: number): Promise<void> {
    if (this.#others.delete(pid)) return;
    const container = [...this.#containers.values()].find((one) => one.pid === pid);
    if (container) await this.exit(container.handle.containerId, -9, 'killed by signal 9');
  }

  #nextPid(): number {
    this.#lastPid += 1;
    return this.#lastPid;
  }

  #path(id: ContainerId): string | null {
    return this.#directory === null ? null : join(this.#directory, `${id}.json`);
  }

  async #put(container: DummyContainer): Promise<void> {
    const { containerId } = container.handle;
    this.#containers.set(containerId, container);
    const path = this.#path(containerId);
    if (path === null) return;
    // A crash of the machine does not matter to a load test.
    await this.#files.run(containerId, () =>
      writeWhole(path, `${JSON.stringify({ version: 1, container })}\n`, { fsync: false }),
    );
  }

  async #load(): Promise<void> {
    if (this.#directory === null) return;
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#directory)) {
      if (!name.endsWith('.json')) continue;
      try {
        const text = await readFile(join(this.#directory, name), 'utf8');
        const { container } = fileSchema.parse(JSON.parse(text));
        this.#containers.set(container.handle.containerId, container);
        this.#lastPid = Math.max(this.#lastPid, container.pid ?? 0);
      } catch (error) {
        if (hasCode(error, 'ENOENT')) continue;
        this.#logger.error('the file of a dummy container is unreadable', {
          file: name,
          error: messageOf(error),
        });
      }
    }
  }
}
