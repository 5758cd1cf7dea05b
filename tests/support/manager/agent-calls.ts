import type { AgentClient } from '../../../src/client/agent-client.js';
import { Uuid } from '../../../src/codec/index.js';
import { messageOf } from '../../../src/core/errors.js';
import { eventually } from '../eventually.js';
import { creationArguments, imageConfig, type SessionSpec } from './session-requests.js';
import type { KernelRow, SessionRow } from './session-table.js';
import type { Strays } from './strays.js';

/** A manager repeats what is not done; a real one a little later. */
const REPEAT_MS = 2000;

interface CallParts {
  readonly client: (agentId: string) => AgentClient;
  readonly isClosed: () => boolean;
}

/** What a manager asks of agents. Works in the background: what became of it, events tell. */
export class AgentCalls {
  /** Calls that failed, as `method: message`. */
  readonly failures: string[] = [];
  /** Session -> how often kernels of it were asked for, in all calls. */
  readonly creations = new Map<string, number>();
  readonly #parts: CallParts;
  readonly #working = new Set<Promise<void>>();

  constructor(parts: CallParts) {
    this.#parts = parts;
  }

  /** Resolves when no call is under way. */
  async idle(): Promise<void> {
    while (this.#working.size > 0) await Promise.all(this.#working);
  }

  checkAndPull(spec: SessionSpec, session: SessionRow): void {
    const image_configs = { [spec.image]: imageConfig(spec, session) };
    for (const agentId of agentsOf(session))
      this.#do('check_and_pull', async () => {
        await this.#parts.client(agentId).call('check_and_pull', { image_configs });
      });
  }

  /** All kernels of one agent in one call. A failure changes nothing: the session stays as it is. */
  create(spec: SessionSpec, session: SessionRow): void {
    for (const agentId of agentsOf(session)) {
      const args = creationArguments(spec, session, agentId);
      if (!args) continue;
      this.creations.set(session.id, (this.creations.get(session.id) ?? 0) + 1);
      this.#do('create_kernels', async () => {
        await this.#parts.client(agentId).call('create_kernels', args);
      });
    }
  }

  /** Again and again until the kernel is TERMINATED, as a manager does while the session is TERMINATING. */
  destroy(session: SessionRow, kernel: KernelRow, reason: string): void {
    const isWanted = () => kernel.status === 'TERMINATING' && !this.#parts.isClosed();
    const destruction = { kernelId: kernel.id, sessionId: session.id, reason };
    this.#do('destroy_kernel', async () => {
      while (isWanted()) {
        await this.#parts
          .client(kernel.agentId)
          .destroyKernel(destruction)
          .catch((error: unknown) => {
            this.failures.push(`destroy_kernel: ${messageOf(error)}`);
          });
        await eventually(
          () => {
            if (isWanted()) throw new Error('still there');
          },
          { timeoutMs: REPEAT_MS },
        ).catch(() => undefined);
      }
    });
  }

  /** Without naming the agent, as managers do. */
  startBatch(spec: SessionSpec, session: SessionRow): void {
    const [main] = session.kernels;
    if (!main) return;
    this.#do('trigger_batch_execution', async () => {
      const args = {
        session_id: session.id,
        kernel_id: main.id,
        code: spec.startupCommand ?? '',
        timeout: null,
      };
      await this.#parts.client(main.agentId).withAgent(null).call('trigger_batch_execution', args);
    });
  }

  purge(agentId: string, { containers, kernelIds }: Strays): void {
    if (containers.length > 0)
      this.#do('purge_containers', async () => {
        const container_kernel_ids = containers.map((one): [string, string] => [
          one.containerId,
          one.kernelId,
        ]);
        await this.#parts.client(agentId).call('purge_containers', { container_kernel_ids });
      });
    if (kernelIds.length > 0)
      this.#do('drop_kernel_registry', async () => {
        const kernel_ids = kernelIds.map((id) => new Uuid(id));
        await this.#parts.client(agentId).call('drop_kernel_registry', { kernel_ids });
      });
  }

  /** Is any of its images being pulled? An agent that does not answer pulls nothing. */
  async isPulling({ kernels }: SessionRow): Promise<boolean> {
    return this.#any(kernels, ({ agentId, image }) =>
      this.#parts.client(agentId).call('check_pulling', { image_name: image }),
    );
  }

  /** Is any of its kernels being created or there already? */
  async isCreating({ kernels }: SessionRow): Promise<boolean> {
    return this.#any(kernels, ({ agentId, id }) =>
      this.#parts.client(agentId).call('check_creating', { kernel_id: id }),
    );
  }

  async #any(kernels: readonly KernelRow[], ask: (kernel: KernelRow) => Promise<boolean>): Promise<boolean> {
    for (const kernel of kernels) if (await ask(kernel).catch(() => false)) return true;
    return false;
  }

  #do(method: string, work: () => Promise<void>): void {
    const task = work()
      .catch((error: unknown) => {
        this.failures.push(`${method}: ${messageOf(error)}`);
      })
      .finally(() => this.#working.delete(task));
    this.#working.add(task);
  }
}

const agentsOf = ({ kernels }: SessionRow): ReadonlySet<string> =>
  new Set(kernels.map(({ agentId }) => agentId));
