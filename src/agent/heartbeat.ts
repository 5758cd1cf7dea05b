import type { Clock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import type { AgentId } from '../core/ids.js';
import type { Logger } from '../core/logger.js';
import type { AgentEvent, AgentInfo, EventSink } from '../events/catalogue.js';
import type { KernelRegistry } from '../kernels/kernel-registry.js';

interface HeartbeatParts {
  readonly agentId: AgentId;
  readonly kernels: KernelRegistry;
  /** What the next heartbeat tells; asked each time. */
  readonly info: () => AgentInfo;
  /** Goes with each heartbeat, right after it. Never rejects; not waited for. */
  readonly alongside?: () => Promise<void>;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly logger: Logger;
  /** spec/events-and-stores.md 4.1; default 20 000. */
  readonly intervalMs: number;
}

/** Between two lists of the agent's containers (spec/events-and-stores.md 3.5, `agent_status_heartbeat`). */
const STATUS_INTERVAL_MS = 60_000;

/**
 * Tells managers that an agent lives and what it has. On timers of its own, which nothing else delays: an event store
 * that is away costs the beats of that time and nothing more.
 */
export class Heartbeat {
  readonly #parts: HeartbeatParts;
  readonly #stop = new AbortController();
  readonly #loops: readonly Promise<void>[];

  /** Starts at once. */
  constructor(parts: HeartbeatParts) {
    this.#parts = parts;
    this.#loops = [
      this.#repeat(
        parts.intervalMs,
        () => ({ name: 'agent_heartbeat', info: parts.info() }),
        parts.alongside,
      ),
      this.#repeat(STATUS_INTERVAL_MS, () => this.#status()),
    ];
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('the heartbeat stops'));
    await Promise.all(this.#loops);
  }

  async #repeat(intervalMs: number, next: () => AgentEvent, alongside?: () => Promise<void>): Promise<void> {
    const { agentId, clock, events, logger } = this.#parts;
    let dueMs = clock.monotonicMs();
    while (!this.#stop.signal.aborted) {
      try {
        // Not waited for: the next beat is due when it is due.
        events.publish(agentId, next()).catch((error: unknown) => {
          logger.warn('heartbeat not sent', { agentId, error: messageOf(error) });
        });
        void alongside?.();
      } catch (error) {
        logger.error('heartbeat not made', { agentId, error: messageOf(error) });
      }
      dueMs = Math.max(dueMs + intervalMs, clock.monotonicMs());
      await clock.sleep(dueMs - clock.monotonicMs(), this.#stop.signal).catch(() => undefined);
    }
  }

  #status(): AgentEvent {
    const kernels = [...this.#parts.kernels];
    return {
      name: 'agent_status_heartbeat',
      containers: kernels.flatMap(({ id: kernelId, containerId, state }) =>
        containerId !== null && state.name === 'running'
          ? [{ containerId, kernelId, status: state.name }]
          : [],
      ),
      kernels: kernels.map(({ id: kernelId, containerId }) => ({ kernelId, containerId })),
    };
  }
}
