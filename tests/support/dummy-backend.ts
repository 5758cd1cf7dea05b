import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KernelBackend, KernelPlan } from '../../src/backends/backend.js';
import {
  DummyBackend,
  type DummyBackendOptions,
  DummyContainers,
  type DummySettings,
} from '../../src/backends/dummy/index.js';
import { systemClock } from '../../src/core/clock.js';
import { parseAgentId, type KernelId } from '../../src/core/ids.js';
import { silentLogger } from '../../src/core/logger.js';
import { FakeRunner } from '../../src/kernel-runner/fake-runner.js';
import type { BackendHarness, PlanOverrides } from '../contract/backend.contract.js';
import { eventually } from './eventually.js';
import { kernelPlan } from './kernel-plan.js';
import { StubRunner, type StubFacts } from './stub-runner.js';

/** No step takes time or fails, but for a start, which can be cancelled. */
export const QUICK_SETTINGS: DummySettings = {
  delaysMs: {
    'scan-image': 0,
    'pull-image': 0,
    'push-image': 0,
    'purge-images': 0,
    'destroy-kernel': 0,
    'clean-kernel': 0,
    'create-network': 0,
    'destroy-network': 0,
    'prepare-scratch': 0,
    'prepare-ssh': 0,
    'mount-krunner': 0,
    spawn: 0,
    'start-container': 50,
    commit: 0,
    'check-status': 0,
    'get-completions': 0,
    'get-logs': 0,
    'interrupt-kernel': 0,
    'start-service': 0,
    'start-model-service': 0,
    'shutdown-service': 0,
    'get-service-apps': 0,
    'accept-file': 0,
    'download-file': 0,
    'download-single': 0,
    'list-files': 0,
    execute: 0,
  },
  images: { present: [], pullable: [], missing: [] },
  usesFakeRunner: true,
  failures: {
    create: 0,
    start: 0,
    runner: 0,
    execute: 0,
    stop: 0,
    remove: 0,
    pull: 0,
    push: 0,
    commit: 0,
  },
};

/** Dummy backends over the same containers, as after a restart within one process. */
export class DummyBackendHarness implements BackendHarness {
  readonly hasImages = true;
  readonly root: string;
  readonly containers: DummyContainers;
  readonly #overrides: Partial<DummyBackendOptions>;
  readonly #backends: DummyBackend[] = [];
  readonly #facts = new Map<KernelId, StubFacts>();

  private constructor(root: string, overrides: Partial<DummyBackendOptions>) {
    this.root = root;
    this.#overrides = overrides;
    this.containers = this.another();
  }

  static async make(overrides: Partial<DummyBackendOptions> = {}): Promise<DummyBackendHarness> {
    return new DummyBackendHarness(await mkdtemp(join(tmpdir(), 'spl-dummy-')), overrides);
  }

  /** Containers on the same directory, as those of another process. */
  another(): DummyContainers {
    return new DummyContainers({ directory: join(this.root, 'state'), logger: silentLogger });
  }

  async open(overrides: Partial<DummyBackendOptions> = {}): Promise<KernelBackend> {
    const backend = new DummyBackend({
      settings: QUICK_SETTINGS,
      containers: this.containers,
      serveRunner: (runner) => FakeRunner.open(runner),
      clock: systemClock,
      logger: silentLogger,
      ...this.#overrides,
      ...overrides,
    });
    await backend.open();
    this.#backends.push(backend);
    return backend;
  }

  plan(overrides: PlanOverrides = {}): Promise<KernelPlan> {
    const agentId = parseAgentId('i-dummy-test');
    return kernelPlan(this.root, { agentId, imageCanonical: 'dummy/stub:latest' }, overrides);
  }

  stub(plan: KernelPlan): StubRunner {
    return new DummyStub(this.containers, this.#facts, plan);
  }

  workOf(plan: KernelPlan): string {
    return plan.scratch.work;
  }

  isAlive(pid: number): Promise<boolean> {
    return Promise.resolve(this.containers.isAlive(pid));
  }

  kill(pid: number): Promise<void> {
    return this.containers.kill(pid);
  }

  leftovers(): Promise<readonly string[]> {
    return readdir(join(this.root, 'state'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const backend of this.#backends) await backend.close();
    await rm(this.root, { recursive: true, force: true });
  }
}

/** Plays the program in a container that has none. */
class DummyStub extends StubRunner {
  readonly #containers: DummyContainers;
  readonly #facts: Map<KernelId, StubFacts>;
  readonly #plan: KernelPlan;

  constructor(containers: DummyContainers, facts: Map<KernelId, StubFacts>, plan: KernelPlan) {
    super(plan.scratch.work);
    this.#containers = containers;
    this.#facts = facts;
    this.#plan = plan;
  }

  /** What it has told once stands, as a file in the work directory would. */
  override ready(): Promise<StubFacts> {
    const { kernelId } = this.#plan;
    return eventually(() => {
      const container = this.#containers.ofKernel(kernelId);
      if (container?.pid != null)
        this.#facts.set(kernelId, {
          pid: container.pid,
          args: ['--repl-in', '', '--repl-out', '', '--runtime', container.runtimeType],
          environment: { ...container.environment },
          cwd: this.#plan.scratch.work,
        });
      const facts = this.#facts.get(kernelId);
      if (!facts) throw new Error(`kernel ${kernelId} does not run`);
      return facts;
    });
  }

  override async order(text: string): Promise<void> {
    const [verb, ...rest] = text.split(' ');
    const id = this.#running();
    if (verb === 'exit') await this.#containers.exit(id, Number(rest[0]), 'ended by itself');
    else if (verb === 'print') this.#containers.write(id, `${rest.join(' ')}\n`);
    else throw new Error(`a dummy kernel cannot ${text}`);
  }

  override leaveProcess(): Promise<number> {
    const pid = this.#containers.fork(this.#running());
    return pid === null ? Promise.reject(new Error('the kernel does not run')) : Promise.resolve(pid);
  }

  #running() {
    const container = this.#containers.ofKernel(this.#plan.kernelId);
    if (container?.pid == null) throw new Error(`kernel ${this.#plan.kernelId} does not run`);
    return container.handle.containerId;
  }
}
