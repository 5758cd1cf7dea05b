import type { ManagerVersion } from '../../../src/config/types.js';
import type { Clock } from '../../../src/core/clock.js';
import type { ReceivedEvent } from './event-consumer.js';
import { imageRule, kernelRule, type KernelRule, type KernelStatus } from './kernel-rules.js';

export interface KernelRow {
  readonly id: string;
  /** Another one after it has gone back into the queue. */
  agentId: string;
  readonly image: string;
  status: KernelStatus;
  changedAtMs: number;
  /** Of `kernel_started`. */
  creationInfo: Readonly<Record<string, unknown>> | null;
  /** Of `kernel_terminated`. */
  reason: string | null;
}

export interface SessionRow {
  readonly id: string;
  readonly type: 'interactive' | 'batch';
  readonly kernels: readonly KernelRow[];
  result: 'UNDEFINED' | 'SUCCESS' | 'FAILURE';
  /** Of calls for what is stuck, since it was scheduled last. */
  retries: number;
  /** All that it was so far, without repeats; the last is what it is. */
  readonly history: KernelStatus[];
}

/** Columns of the manager's database that take no null (spec/events-and-stores.md 3.6, 3.9). */
const PORT_COLUMNS: Readonly<Record<ManagerVersion, readonly string[]>> = {
  '25.17': ['repl_in_port', 'repl_out_port', 'stdin_port', 'stdout_port'],
  '26.9': ['repl_in_port', 'repl_out_port'],
};

/**
 * Sessions as a manager keeps them (spec/events-and-stores.md 10.2): each event changes a kernel only from the statuses
 * that it is meant for, and a session is what its kernels are.
 */
export class SessionTable {
  readonly rows = new Map<string, SessionRow>();
  readonly #line: ManagerVersion;
  readonly #clock: Clock;
  readonly #listeners = new Set<(session: SessionRow) => void>();

  constructor(line: ManagerVersion, clock: Clock) {
    this.#line = line;
    this.#clock = clock;
  }

  add(session: SessionRow): void {
    this.rows.set(session.id, session);
  }

  find(kernelId: string): KernelRow | undefined {
    return [...this.rows.values()].flatMap(({ kernels }) => kernels).find(({ id }) => id === kernelId);
  }

  /** Called after each event that may have changed something. */
  onChange(listener: (session: SessionRow) => void): void {
    this.#listeners.add(listener);
  }

  apply({ name, source, args }: ReceivedEvent): void {
    const ofImage = imageRule(name);
    if (ofImage) {
      this.#moveByImage(args, source, ofImage);
      return;
    }
    const ofKernel = kernelRule(this.#line, name);
    if (ofKernel) {
      this.#moveKernel(name, args, source, ofKernel);
      return;
    }
    if (name !== 'session_success' && name !== 'session_failure') return;
    const session = this.rows.get(String(args[0]));
    if (session?.result !== 'UNDEFINED') return;
    session.result = name === 'session_success' ? 'SUCCESS' : 'FAILURE';
    this.#changed(session);
  }

  /** What the manager itself decides: to create, to terminate, to begin anew, to give up. */
  move(session: SessionRow, from: readonly KernelStatus[], to: KernelStatus, reason?: string): void {
    const moved = session.kernels.filter(({ status }) => from.includes(status));
    for (const kernel of moved) {
      this.#set(kernel, to);
      if (reason !== undefined) kernel.reason = reason;
    }
    if (moved.length > 0) this.#changed(session);
  }

  /** The same for one kernel. */
  moveOne(session: SessionRow, kernel: KernelRow, to: KernelStatus, reason: string): void {
    this.#set(kernel, to);
    kernel.reason = reason;
    this.#changed(session);
  }

  #moveByImage([image, agentId]: readonly unknown[], source: string, { from, to }: KernelRule): void {
    if (agentId !== source) throw new Error(`an event of ${source} speaks of ${String(agentId)}`);
    for (const session of this.rows.values()) {
      const kernels = session.kernels.filter(
        (kernel) => kernel.image === image && kernel.agentId === agentId && from.includes(kernel.status),
      );
      for (const kernel of kernels) this.#set(kernel, to);
      if (kernels.length > 0) this.#changed(session);
    }
  }

  #moveKernel(name: string, args: readonly unknown[], source: string, { from, to }: KernelRule): void {
    const session = this.rows.get(String(args[1]));
    const kernel = session?.kernels.find(({ id }) => id === args[0]);
    if (!session || !kernel || !from.includes(kernel.status)) return;
    if (kernel.agentId !== source) throw new Error(`${source} speaks of a kernel of ${kernel.agentId}`);
    if (name === 'kernel_started') kernel.creationInfo = this.#creationInfo(args[3]);
    if (name === 'kernel_terminated') kernel.reason = String(args[2]);
    this.#set(kernel, to);
    this.#changed(session);
  }

  #creationInfo(value: unknown): Readonly<Record<string, unknown>> {
    const info = value as Readonly<Record<string, unknown>>;
    for (const column of PORT_COLUMNS[this.#line])
      if (!Number.isInteger(info[column])) throw new Error(`kernel_started: ${column} is no integer`);
    for (const text of ['container_id', 'kernel_host'])
      if (typeof info[text] !== 'string') throw new Error(`kernel_started: ${text} is no text`);
    return info;
  }

  #set(kernel: KernelRow, status: KernelStatus): void {
    kernel.status = status;
    kernel.changedAtMs = this.#clock.nowMs();
  }

  #changed(session: SessionRow): void {
    const statuses = new Set(session.kernels.map(({ status }) => status));
    const [only] = statuses;
    if (statuses.size === 1 && only !== undefined && session.history.at(-1) !== only)
      session.history.push(only);
    for (const listener of this.#listeners) listener(session);
  }
}
