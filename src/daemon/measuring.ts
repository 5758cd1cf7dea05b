import { statfs } from 'node:fs/promises';
import type { KernelBackend, KernelHandle } from '../backends/backend.js';
import { type Clock, systemClock } from '../core/clock.js';
import type { AgentId, KernelId } from '../core/ids.js';
import type { Questions } from '../core/questions.js';
import type { KernelRegistry } from '../kernels/kernel-registry.js';
import type { NodeResources } from '../resources/index.js';
import {
  DiskUsage,
  KernelReader,
  type KernelReading,
  KernelUsageReader,
  type MeasuredKernel,
  NodeReader,
  type NodeReading,
  readText as readSystemFile,
  SharedReading,
} from '../stats/index.js';

/** For the list of processes or cgroups of all kernels, which an engine may have to be asked for. */
const SOURCES_TIMEOUT_MS = 30_000;

interface MeasuringParts {
  readonly backend: KernelBackend;
  readonly resources: Pick<NodeResources, 'measure'>;
  /** One for the process: only so does it know how many of its threads hang. */
  readonly questions: Questions;
  /** Default: the machine's. */
  readonly clock?: Clock;
  readonly readText?: (path: string) => Promise<string>;
}

/** Measures for all agents of the process: whoever wants figures at the same moment gets those of one pass. */
export class Measuring {
  readonly #agents = new Map<AgentId, KernelRegistry>();
  readonly #node: SharedReading<NodeReading>;
  readonly #kernels: SharedReading<KernelReading>;

  constructor(parts: MeasuringParts) {
    const { backend, resources, questions, clock = systemClock, readText = readSystemFile } = parts;
    const statfsOf = (path: string) => statfs(path, { bigint: true });
    const disks = new DiskUsage({ readText, statfs: statfsOf, questions });
    const devices = () => resources.measure();
    const node = new NodeReader({ readText, disks, devices, clock });
    const kernels = new KernelReader({
      sources: async () => {
        const handles = this.#handles();
        if (handles.length === 0) return new Map();
        return (await backend.usageSources?.(handles)) ?? new Map();
      },
      usage: new KernelUsageReader({ readText, questions }),
      sourcesTimeoutMs: SOURCES_TIMEOUT_MS,
      clock,
    });
    this.#node = new SharedReading(() => node.read(), clock);
    this.#kernels = new SharedReading(() => kernels.read(), clock);
  }

  /** From now on its kernels are looked at with all others, until `leave`. */
  join(agentId: AgentId, kernels: KernelRegistry): void {
    this.#agents.set(agentId, kernels);
  }

  leave(agentId: AgentId): void {
    this.#agents.delete(agentId);
  }

  /** Of a round that is repeated at this pace. */
  node(intervalMs: number): Promise<NodeReading> {
    return this.#node.take(intervalMs / 2);
  }

  /** As `node`. @throws TimeoutError, and the backend's error. */
  kernels(intervalMs: number): Promise<KernelReading> {
    return this.#kernels.take(intervalMs / 2);
  }

  #handles(): readonly KernelHandle[] {
    const ids = (registry: KernelRegistry): readonly KernelId[] =>
      runningKernels(registry).map(({ kernelId }) => kernelId);
    return [...this.#agents.values()].flatMap((registry) =>
      ids(registry).flatMap((id) => registry.find(id)?.handle ?? []),
    );
  }
}

/** Kernels that run now, and what their figures are labelled with. */
export function runningKernels(registry: KernelRegistry): readonly MeasuredKernel[] {
  return [...registry].flatMap(({ id, sessionId, containerId, state, request, allocation }) => {
    if (containerId === null || state.name !== 'running') return [];
    const { ownerUserId, ownerProjectId } = request.config;
    const memoryBytes = allocation?.slots['mem'] ?? null;
    return [{ kernelId: id, sessionId, containerId, ownerUserId, ownerProjectId, memoryBytes }];
  });
}
