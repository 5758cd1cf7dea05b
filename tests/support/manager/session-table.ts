import type { ReceivedEvent } from './event-consumer.js';

export type KernelStatus =
  'PREPARING' | 'PULLING' | 'PREPARED' | 'CREATING' | 'RUNNING' | 'TERMINATING' | 'TERMINATED' | 'CANCELLED';

export interface KernelRow {
  readonly id: string;
  readonly agentId: string;
  readonly image: string;
  status: KernelStatus;
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
  /** All that it was so far, without repeats; the last is what it is. */
  readonly history: KernelStatus[];
}

/** Columns of the manager's database that take no null (spec/events-and-stores.md 3.6). */
const PORT_COLUMNS = ['repl_in_port', 'repl_out_port', 'stdin_port', 'stdout_port'];

/**
 * Sessions as a 25.17 manager keeps them (spec/events-and-stores.md 10.2): each event changes a kernel only from the
 * statuses that it is meant for, and a session is what its kernels are.
 */
export class SessionTable {
  readonly rows = new Map<string, SessionRow>();
  readonly #listeners = new Set<(session: SessionRow) => void>();

  add(session: SessionRow): void {
    this.rows.set(session.id, session);
  }

  /** Called after each event that may have changed something. */
  onChange(listener: (session: SessionRow) => void): void {
    this.#listeners.add(listener);
  }

  apply({ name, source, args }: ReceivedEvent): void {
    switch (name) {
      case 'image_pull_started':
        this.#moveByImage(args, source, ['PREPARING'], 'PULLING');
        return;
      case 'image_pull_finished':
        this.#moveByImage(args, source, ['PREPARING', 'PULLING'], 'PREPARED');
        return;
      case 'image_pull_failed':
        this.#moveByImage(args, source, ['PREPARING', 'PULLING'], 'CANCELLED');
        return;
      case 'kernel_started': {
        const info = args[3] as Readonly<Record<string, unknown>>;
        for (const column of PORT_COLUMNS)
          if (!Number.isInteger(info[column])) throw new Error(`kernel_started: ${column} is no integer`);
        this.#moveKernel(args, source, ['CREATING'], 'RUNNING', (kernel) => {
          kernel.creationInfo = info;
        });
        return;
      }
      case 'kernel_terminated':
        this.#moveKernel(args, source, ['TERMINATING'], 'TERMINATED', (kernel) => {
          kernel.reason = String(args[2]);
        });
        return;
      case 'session_success':
      case 'session_failure': {
        const session = this.rows.get(String(args[0]));
        if (session?.result !== 'UNDEFINED') return;
        session.result = name === 'session_success' ? 'SUCCESS' : 'FAILURE';
        this.#changed(session);
        return;
      }
      default:
    }
  }

  /** What the manager itself decides: to create and to terminate. */
  move(session: SessionRow, from: readonly KernelStatus[], to: KernelStatus): void {
    for (const kernel of session.kernels) if (from.includes(kernel.status)) kernel.status = to;
    this.#changed(session);
  }

  #moveByImage(
    [image, agentId]: readonly unknown[],
    source: string,
    from: readonly KernelStatus[],
    to: KernelStatus,
  ): void {
    if (agentId !== source) throw new Error(`an event of ${source} speaks of ${String(agentId)}`);
    for (const session of this.rows.values()) {
      const kernels = session.kernels.filter(
        (kernel) => kernel.image === image && kernel.agentId === agentId && from.includes(kernel.status),
      );
      for (const kernel of kernels) kernel.status = to;
      if (kernels.length > 0) this.#changed(session);
    }
  }

  #moveKernel(
    [kernelId, sessionId]: readonly unknown[],
    source: string,
    from: readonly KernelStatus[],
    to: KernelStatus,
    change: (kernel: KernelRow) => void,
  ): void {
    const session = this.rows.get(String(sessionId));
    const kernel = session?.kernels.find(({ id }) => id === kernelId);
    if (!session || !kernel) return;
    if (kernel.agentId !== source) throw new Error(`${source} speaks of a kernel of ${kernel.agentId}`);
    if (!from.includes(kernel.status)) return;
    kernel.status = to;
    change(kernel);
    this.#changed(session);
  }

  #changed(session: SessionRow): void {
    const statuses = new Set(session.kernels.map(({ status }) => status));
    const [only] = statuses;
    if (statuses.size === 1 && only !== undefined && session.history.at(-1) !== only)
      session.history.push(only);
    for (const listener of this.#listeners) listener(session);
  }
}
