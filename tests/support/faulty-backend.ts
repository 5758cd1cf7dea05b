import { randomUUID } from 'node:crypto';
import type {
  BackendFiles,
  BackendImages,
  BackendNetworks,
  CommittedImage,
  KernelBackend,
  KernelDetails,
  KernelExit,
  KernelHandle,
  KernelPlan,
  KernelProcessState,
  RunnerEndpoints,
} from '../../src/backends/backend.js';
import { type Deferred, deferred, within } from '../../src/core/async.js';
import { type AgentId, asContainerId, type KernelId } from '../../src/core/ids.js';

/** How long a test waits for something that must happen before it fails with the name of what did not. */
export const DEADLINE_MS = 25_000;

export interface Hang {
  /** Resolves when somebody has come to the point; rejects after the deadline. */
  readonly entered: Promise<void>;
  /** Lets it go on. Never called: whoever is there never comes back, as in a process that was killed. */
  release(): void;
}

/** Named points at which the parts of a test can be made to fail, once, or to hang. */
export class Faults {
  readonly #failures = new Map<string, { readonly error: Error; left: number }>();
  readonly #later = new Map<string, Error>();
  readonly #hangs = new Map<
    string,
    { readonly entered: Deferred<void>; readonly released: Deferred<void> }
  >();
  /** Every point that was passed, in order. */
  readonly passed: string[] = [];
  readonly #watchers = new Set<() => void>();
  readonly #poison = new AbortController();

  fail(point: string, options: { readonly error?: Error; readonly times?: number } = {}): void {
    const { error = new Error(`injected failure at ${point}`), times = 1 } = options;
    this.#failures.set(point, { error, left: times });
  }

  /** When the point is passed for the given time in all; the first is 1. */
  failAt(point: string, time: number, error = new Error(`injected failure at ${point}`)): void {
    this.#later.set(`${point} ${String(time)}`, error);
  }

  hang(point: string): Hang {
    const entered = deferred<void>();
    const released = deferred<void>();
    this.#hangs.set(point, { entered, released });
    return {
      get entered() {
        return within(entered.promise, { timeoutMs: DEADLINE_MS, what: `reaching ${point}` });
      },
      release: () => {
        released.resolve();
      },
    };
  }

  /** Forgets failures and hangs that nobody has come to. */
  heal(): void {
    this.#failures.clear();
    this.#later.clear();
    this.#hangs.clear();
  }

  /** Resolves when the point has been passed so many times in all, failures included. */
  async reached(point: string, times: number): Promise<void> {
    const reached = deferred<void>();
    const watch = () => {
      if (this.passed.filter((one) => one === point).length >= times) reached.resolve();
    };
    this.#watchers.add(watch);
    watch();
    await within(reached.promise, {
      timeoutMs: DEADLINE_MS,
      what: `reaching ${point} ${String(times)} times`,
    });
  }

  /** Everything fails from here on, what hangs included: the end of a daemon that was killed in a test. */
  poison(): void {
    this.#poison.abort(new Error('this daemon was killed'));
  }

  /** @throws the injected failure, or the signal's reason while hanging. */
  async pass(point: string, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.check(point);
    const hang = this.#hangs.get(point);
    if (!hang) return;
    this.#hangs.delete(point);
    hang.entered.resolve();
    await new Promise<void>((resolve, reject) => {
      void hang.released.promise.then(resolve);
      for (const limit of [signal, this.#poison.signal])
        limit?.addEventListener(
          'abort',
          () => {
            reject(limit.reason as Error);
          },
          { once: true },
        );
    });
  }

  /** As `pass`, for places that cannot wait. */
  check(point: string): void {
    this.#poison.signal.throwIfAborted();
    this.passed.push(point);
    for (const watch of this.#watchers) watch();
    const later = this.#later.get(`${point} ${String(this.passed.filter((one) => one === point).length)}`);
    if (later) throw later;
    const failure = this.#failures.get(point);
    if (!failure || failure.left === 0) return;
    failure.left -= 1;
    throw failure.error;
  }
}

interface Container {
  readonly handle: KernelHandle;
  readonly plan: KernelPlan;
  status: 'created' | 'running' | 'exited';
  exitCode: number | null;
}

/**
 * A machine full of containers that exist only in memory, with faults at every verb: `backend.create` before the
 * container is there and `backend.create:after` when it is, likewise for the other verbs. The containers outlive the
 * backend object, as they outlive a daemon: see `successor`. `backend.create:lost`: the container stays, nobody hears of it.
 */
export class FaultyBackend implements KernelBackend {
  readonly kind = 'dummy';
  readonly faults: Faults;
  /** `per-kernel`: all containers of a kernel have one id, as processes do. */
  containerIds: 'unique' | 'per-kernel' = 'unique';
  /** Where the runner of a started container is reached; by default nowhere. */
  endpointsOf: (handle: KernelHandle) => RunnerEndpoints = nowhere;
  readonly #containers: Map<string, Container>;
  readonly #listeners = new Set<(exit: KernelExit) => void>();
  /** Canonical names of images that are on the machine; the ids of those without one. */
  readonly localImages: Set<string>;
  readonly #committed = new Map<string, string>();

  constructor(
    faults = new Faults(),
    containers = new Map<string, Container>(),
    localImages = new Set<string>(),
  ) {
    this.faults = faults;
    this.#containers = containers;
    this.localImages = localImages;
  }

  /** The same machine after the daemon was killed: nothing that hung comes back, nobody listens any more. */
  successor(faults = new Faults()): FaultyBackend {
    const next = new FaultyBackend(faults, this.#containers, this.localImages);
    next.containerIds = this.containerIds;
    next.endpointsOf = this.endpointsOf;
    return next;
  }

  get containers(): readonly Pick<Container, 'handle' | 'status' | 'plan'>[] {
    return [...this.#containers.values()];
  }

  containersOf(kernelId: KernelId): readonly Pick<Container, 'handle' | 'status' | 'plan'>[] {
    return this.containers.filter(({ handle }) => handle.kernelId === kernelId);
  }

  /** The container's main process ends by itself. */
  exit(kernelId: KernelId, exitCode: number | null, options: { readonly silently?: boolean } = {}): void {
    for (const container of this.#containers.values())
      if (container.handle.kernelId === kernelId && container.status === 'running')
        this.#end(container, exitCode, options.silently ?? false);
  }

  /** Somebody deletes the container behind the agent's back. */
  vanish(kernelId: KernelId): void {
    for (const { handle } of this.containersOf(kernelId)) this.#containers.delete(handle.containerId);
  }

  /** Says again that a container exited, as engines do after a reconnection. */
  report(exit: KernelExit): void {
    for (const listener of [...this.#listeners]) listener(exit);
  }

  open(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  readonly images: BackendImages = {
    isAvailable: async ({ canonical }) => {
      await this.faults.pass('images.isAvailable');
      return this.localImages.has(canonical);
    },
    pull: async ({ canonical }, signal) => {
      await this.faults.pass('images.pull', signal);
      this.localImages.add(canonical);
    },
    push: async (_, signal) => {
      await this.faults.pass('images.push', signal);
    },
    list: async () => {
      await this.faults.pass('images.list');
      const facts = { digest: 'sha256:1', architecture: 'x86_64' };
      return [...this.localImages].map((canonical) => ({ canonical, ...facts }));
    },
    remove: async (name) => {
      await this.faults.pass('images.remove');
      if (!this.localImages.delete(this.#committed.get(name) ?? name))
        throw new Error(`no such image: ${name}`);
    },
    export: async (_, signal) => {
      await this.faults.pass('images.export', signal);
      return (async function* () {
        yield await Promise.resolve(Buffer.from('an image'));
      })();
    },
  };

  async commit(_: KernelHandle, image: CommittedImage, signal: AbortSignal): Promise<string> {
    await this.faults.pass('backend.commit', signal);
    const id = `sha256:${randomUUID()}`;
    const name = image.canonical ?? id;
    this.#committed.set(id, name);
    this.localImages.add(name);
    return id;
  }

  readonly networks: BackendNetworks = {
    createLocal: () => Promise.resolve(),
    destroyLocal: () => Promise.resolve(),
  };

  readonly files: BackendFiles = {
    upload: () => Promise.resolve(),
    downloadArchive: () => Promise.resolve(new Uint8Array()),
    downloadSingle: () => Promise.resolve(new Uint8Array()),
    list: () => Promise.resolve({ entries: [], errors: '' }),
  };

  async create(plan: KernelPlan, signal: AbortSignal): Promise<KernelHandle> {
    await this.faults.pass('backend.create', signal);
    const handle: KernelHandle = {
      version: 1,
      backend: this.kind,
      agentId: plan.agentId,
      kernelId: plan.kernelId,
      sessionId: plan.sessionId,
      containerId: asContainerId(
        `container-${this.containerIds === 'unique' ? randomUUID() : plan.kernelId}`,
      ),
      state: { incarnation: randomUUID() },
    };
    if (this.#containers.has(handle.containerId)) throw new Error(`${handle.containerId} exists already`);
    this.#containers.set(handle.containerId, { handle, plan, status: 'created', exitCode: null });
    try {
      await this.faults.pass('backend.create:after', signal);
    } catch (error) {
      this.#containers.delete(handle.containerId);
      throw error;
    }
    await this.faults.pass('backend.create:lost');
    return handle;
  }

  async start(handle: KernelHandle, signal: AbortSignal): Promise<RunnerEndpoints> {
    await this.faults.pass('backend.start', signal);
    const container = this.#find(handle);
    if (!container) throw new Error(`no such container: ${handle.containerId}`);
    container.status = 'running';
    try {
      await this.faults.pass('backend.start:after', signal);
    } catch (error) {
      container.status = 'created';
      throw error;
    }
    return this.endpointsOf(handle);
  }

  async stop(handle: KernelHandle): Promise<void> {
    await this.faults.pass('backend.stop');
    const container = this.#find(handle);
    if (container?.status === 'running') this.#end(container, 137, false);
    await this.faults.pass('backend.stop:after');
  }

  async remove(handle: KernelHandle): Promise<void> {
    await this.faults.pass('backend.remove');
    const container = this.#find(handle);
    if (container?.status === 'running') this.#end(container, 137, false);
    if (container) this.#containers.delete(handle.containerId);
    await this.faults.pass('backend.remove:after');
  }

  async inspect(handle: KernelHandle): Promise<KernelProcessState> {
    await this.faults.pass('backend.inspect');
    const container = this.#find(handle);
    if (!container) return { status: 'missing' };
    return container.status === 'running'
      ? { status: 'running', endpoints: this.endpointsOf(handle) }
      : { status: 'exited', exitCode: container.exitCode, detail: container.status };
  }

  async details(handle: KernelHandle): Promise<KernelDetails | null> {
    await this.faults.pass('backend.details');
    const plan = this.#find(handle)?.plan;
    if (!plan) return null;
    return {
      scratch: plan.scratch.root,
      labels: plan.labels,
      image: plan.imageCanonical,
      hostname: plan.hostname,
      environment: plan.environment,
      published: plan.ports.map(({ containerPort, hostPort }) => ({ containerPort, hostPort })),
      network: plan.network?.mode === 'named' ? plan.network.name : (plan.network?.mode ?? null),
      shmBytes: plan.limits.shmBytes,
      createdAtMs: 1_000_000,
    };
  }

  async list(owner: AgentId): Promise<readonly KernelHandle[]> {
    await this.faults.pass('backend.list');
    return this.containers
      .filter(({ plan }) => plan.labels['ai.backend.owner'] === owner)
      .map(({ handle }) => handle);
  }

  logs(): Promise<Uint8Array> {
    return Promise.resolve(new Uint8Array());
  }

  onExit(listener: (exit: KernelExit) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Not a later container of the same id. */
  #find(handle: KernelHandle): Container | undefined {
    const container = this.#containers.get(handle.containerId);
    return container?.handle.state['incarnation'] === handle.state['incarnation'] ? container : undefined;
  }

  #end(container: Container, exitCode: number | null, silently: boolean): void {
    container.status = 'exited';
    container.exitCode = exitCode;
    if (!silently) this.report({ handle: container.handle, exitCode, oomKilled: false, detail: 'exited' });
  }
}

function nowhere(handle: KernelHandle): RunnerEndpoints {
  return { replIn: `ipc:///${handle.containerId}/in`, replOut: `ipc:///${handle.containerId}/out` };
}
