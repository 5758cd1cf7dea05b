import type { Clock } from '../../../src/core/clock.js';
import type { ReceivedEvent } from './event-consumer.js';

export type AgentStatus = 'ALIVE' | 'LOST' | 'RESTARTING' | 'TERMINATED';

export interface AgentRow {
  readonly id: string;
  status: AgentStatus;
  /** The last heartbeat's. */
  info: Readonly<Record<string, unknown>>;
  /** When the last heartbeat came; null once the agent has left or is lost. */
  lastSeenMs: number | null;
}

/** Without a heartbeat for longer, an agent is lost (spec/events-and-stores.md 4.1). */
export const HEARTBEAT_TIMEOUT_MS = 40_000;
const TEXTS = ['ip', 'addr', 'region', 'scaling_group', 'version', 'architecture'];

/** Agents as managers of both lines keep them (spec/events-and-stores.md 4.5). */
export class AgentTable {
  readonly rows = new Map<string, AgentRow>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  apply({ name, source, args }: ReceivedEvent): void {
    const row = this.rows.get(source);
    switch (name) {
      case 'agent_heartbeat': {
        const info = args[0] as Readonly<Record<string, unknown>>;
        for (const key of TEXTS)
          if (typeof info[key] !== 'string') throw new Error(`heartbeat of ${source}: ${key} is no text`);
        const seen = { status: 'ALIVE' as const, info, lastSeenMs: this.#clock.nowMs() };
        if (row) Object.assign(row, seen);
        else this.rows.set(source, { id: source, ...seen });
        return;
      }
      case 'agent_started':
        if (row) row.status = 'ALIVE';
        return;
      case 'agent_terminated':
        if (row && args[0] === 'agent-restart') row.status = 'RESTARTING';
        else this.#leave(row, args[0] === 'agent-lost' ? 'LOST' : 'TERMINATED');
        return;
      default:
    }
  }

  /** What a manager looks after every second. */
  findLost(): void {
    for (const row of this.rows.values())
      if (row.lastSeenMs !== null && this.#clock.nowMs() - row.lastSeenMs > HEARTBEAT_TIMEOUT_MS)
        this.#leave(row, 'LOST');
  }

  /** Nothing can be asked of it: it is lost or has said that it leaves. */
  isGone(agentId: string): boolean {
    const status = this.rows.get(agentId)?.status;
    return status === 'LOST' || status === 'TERMINATED';
  }

  #leave(row: AgentRow | undefined, status: 'LOST' | 'TERMINATED'): void {
    if (!row || this.isGone(row.id)) return;
    Object.assign(row, { status, lastSeenMs: null });
  }
}
