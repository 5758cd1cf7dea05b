import type { ReceivedEvent } from './event-consumer.js';

export interface AgentRow {
  readonly id: string;
  status: 'ALIVE' | 'LOST' | 'RESTARTING' | 'TERMINATED';
  /** The last heartbeat's. */
  info: Readonly<Record<string, unknown>>;
}

/** Agents as a 25.17 manager keeps them (spec/events-and-stores.md 4.5). */
export class AgentTable {
  readonly rows = new Map<string, AgentRow>();

  apply({ name, source, args }: ReceivedEvent): void {
    const row = this.rows.get(source);
    switch (name) {
      case 'agent_heartbeat': {
        const info = args[0] as Readonly<Record<string, unknown>>;
        for (const key of ['ip', 'addr', 'region', 'scaling_group', 'version', 'architecture'])
          if (typeof info[key] !== 'string') throw new Error(`heartbeat of ${source}: ${key} is no text`);
        if (row) Object.assign(row, { status: 'ALIVE', info });
        else this.rows.set(source, { id: source, status: 'ALIVE', info });
        return;
      }
      case 'agent_started':
        if (row) row.status = 'ALIVE';
        return;
      case 'agent_terminated':
        if (row)
          row.status =
            args[0] === 'agent-lost' ? 'LOST' : args[0] === 'agent-restart' ? 'RESTARTING' : 'TERMINATED';
        return;
      default:
    }
  }
}
