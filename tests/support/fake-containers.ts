import {
  containerSchema,
  listedContainersSchema,
  type Container,
  type ListedContainer,
} from '../../src/backends/docker/engine-schemas.js';
import { EngineError } from '../../src/backends/docker/errors.js';
import { labelsOf, type ContainerState } from '../../src/backends/docker/kernel-labels.js';
import type { KernelHandle } from '../../src/backends/backend.js';
import { asContainerId, parseAgentId, parseKernelId, parseSessionId } from '../../src/core/ids.js';

const STATE: ContainerState = {
  work: '/scratch/k/work',
  folders: [],
  uid: null,
  gid: null,
  replIn: 'tcp://127.0.0.1:30000',
  replOut: 'tcp://127.0.0.1:30001',
  published: {},
  networks: [],
};

/** Container `id` of a kernel, with what its labels say. */
export function handleOfContainer(id: string, state: Partial<ContainerState> = {}): KernelHandle {
  return {
    version: 1,
    backend: 'docker',
    agentId: parseAgentId('i-one'),
    kernelId: parseKernelId('8f6a5f0e-0000-4000-8000-00000000000a'),
    sessionId: parseSessionId('8f6a5f0e-0000-4000-8000-00000000000b'),
    containerId: asContainerId(id),
    state: { ...STATE, ...state },
  };
}

/** Labels of the handle's container, as the backend writes them. */
export const labelsOfHandle = ({ agentId, kernelId, sessionId, state }: KernelHandle) =>
  labelsOf({ agentId, kernelId, sessionId, labels: {} }, { ...STATE, ...state });

interface FakeContainer {
  labels: Readonly<Record<string, string>>;
  status: string;
  startedAt: string;
  networks: string[];
}

/** An engine's containers in memory. A test changes what is there and what the engine does. */
export class FakeContainers {
  readonly all = new Map<string, FakeContainer>();
  readonly calls: string[] = [];
  /** What a signal does to a container that runs. */
  onKill: (container: FakeContainer, signal: string) => void = (container) => {
    container.status = 'exited';
  };
  /** Called when a container has been told to start. */
  onStart: (container: FakeContainer) => void = () => undefined;
  /** Removal goes on after the answer that it is under way. */
  isRemovalSlow = false;
  #starts = 0;

  add(handle: KernelHandle, status = 'created'): FakeContainer {
    const container = { labels: labelsOfHandle(handle), status, startedAt: '', networks: ['bridge'] };
    this.all.set(handle.containerId, container);
    return container;
  }

  inspect(id: string): Promise<Container | null> {
    this.calls.push(`inspect ${id}`);
    const found = this.all.get(id);
    if (found === undefined) return Promise.resolve(null);
    const { labels, status, startedAt, networks } = found;
    return Promise.resolve(
      containerSchema.parse({
        Id: id,
        State: { Status: status, StartedAt: startedAt },
        Config: { Labels: labels },
        HostConfig: {},
        NetworkSettings: { Networks: Object.fromEntries(networks.map((name) => [name, {}])) },
      }),
    );
  }

  list(labels: readonly string[]): Promise<readonly ListedContainer[]> {
    const wanted = labels.map((label) => label.split('='));
    const found = [...this.all].filter(([, container]) =>
      wanted.every(([name = '', value]) =>
        value === undefined ? name in container.labels : container.labels[name] === value,
      ),
    );
    return Promise.resolve(
      listedContainersSchema.parse(
        found.map(([Id, { labels: Labels, status: State }]) => ({ Id, State, Labels })),
      ),
    );
  }

  start(id: string): Promise<void> {
    this.calls.push(`start ${id}`);
    const found = this.all.get(id);
    if (found === undefined)
      return Promise.reject(new EngineError(`No such container: ${id}`, { details: { status: 404 } }));
    this.#starts += 1;
    found.status = 'running';
    found.startedAt = new Date(this.#starts * 1000).toISOString();
    this.onStart(found);
    return Promise.resolve();
  }

  kill(id: string, signal: 'SIGINT' | 'SIGKILL'): Promise<boolean> {
    this.calls.push(`${signal} ${id}`);
    const found = this.all.get(id);
    if (found?.status !== 'running') return Promise.resolve(false);
    this.onKill(found, signal);
    return Promise.resolve(true);
  }

  remove(id: string): Promise<boolean> {
    this.calls.push(`remove ${id}`);
    if (!this.isRemovalSlow) this.all.delete(id);
    return Promise.resolve(!this.isRemovalSlow);
  }
}
