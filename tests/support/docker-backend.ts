import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KernelBackend, KernelPlan } from '../../src/backends/backend.js';
import { DockerBackend, type DockerBackendOptions } from '../../src/backends/docker/index.js';
import { parseAgentId } from '../../src/core/ids.js';
import { silentLogger } from '../../src/core/logger.js';
import type { BackendHarness, PlanOverrides } from '../contract/backend.contract.js';
import type { DockerEngine } from './docker-engine.js';
import { BUSYBOX_IMAGE } from './docker-images.js';
import { eventually } from './eventually.js';
import { kernelPlan } from './kernel-plan.js';
import { StubRunner, type StubFacts } from './stub-runner.js';

export interface DockerHarnessOptions {
  readonly engine: DockerEngine;
  /** A runner volume that was built for the file of tests. */
  readonly volume: string;
  readonly image?: string;
  readonly backend?: Partial<DockerBackendOptions>;
}

/** Docker backends on a private engine. Disposes of every container there. */
export class DockerBackendHarness implements BackendHarness {
  readonly hasImages = true;
  readonly root: string;
  readonly #options: DockerHarnessOptions;
  readonly #backends: DockerBackend[] = [];

  private constructor(root: string, options: DockerHarnessOptions) {
    this.root = root;
    this.#options = options;
  }

  static async make(options: DockerHarnessOptions): Promise<DockerBackendHarness> {
    return new DockerBackendHarness(await mkdtemp(join(tmpdir(), 'spl-db-')), options);
  }

  async open(overrides: Partial<DockerBackendOptions> = {}): Promise<KernelBackend> {
    const backend = new DockerBackend({
      socketPath: this.#options.engine.socketPath,
      runnerVolume: { directory: this.#options.volume },
      // Events must do: nothing here waits for a sweep.
      sweepIntervalMs: 3_600_000,
      logger: silentLogger,
      ...this.#options.backend,
      ...overrides,
    });
    await backend.open();
    this.#backends.push(backend);
    return backend;
  }

  async plan(overrides: PlanOverrides = {}): Promise<KernelPlan> {
    return kernelPlan(
      this.root,
      {
        agentId: parseAgentId('i-docker-test'),
        imageCanonical: this.#options.image ?? BUSYBOX_IMAGE,
        // The scratch directory is that of whoever runs the tests.
        identity: { uid: 0, gid: 0 },
        replInPort: await quietPort(),
        replOutPort: await quietPort(),
      },
      overrides,
    );
  }

  stub(plan: KernelPlan): StubRunner {
    return new ContainedStub(this.#options.engine, plan);
  }

  workOf(plan: KernelPlan): string {
    return plan.scratch.work;
  }

  isAlive(pid: number): Promise<boolean> {
    try {
      process.kill(pid, 0);
      return Promise.resolve(true);
    } catch {
      return Promise.resolve(false);
    }
  }

  kill(pid: number): Promise<void> {
    process.kill(pid, 'SIGKILL');
    return Promise.resolve();
  }

  async leftovers(): Promise<readonly string[]> {
    const { docker } = this.#options.engine;
    const containers = await docker.listContainers({ all: true });
    const volumes = await docker.listVolumes();
    return [...containers.flatMap(({ Names }) => Names), ...volumes.Volumes.map(({ Name }) => Name)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { docker } = this.#options.engine;
    for (const backend of this.#backends) await backend.close();
    const containers = await docker.listContainers({ all: true });
    await Promise.all(
      containers.map(({ Id }) =>
        docker
          .getContainer(Id)
          .remove({ force: true, v: true })
          .catch(() => undefined),
      ),
    );
    await rm(this.root, { recursive: true, force: true });
  }
}

/** The pids that the stub names count in its container; those of this machine are more use to a test. */
class ContainedStub extends StubRunner {
  readonly #engine: DockerEngine;
  readonly #plan: KernelPlan;

  constructor(engine: DockerEngine, plan: KernelPlan) {
    super(plan.scratch.work);
    this.#engine = engine;
    this.#plan = plan;
  }

  /** Read anew at each try: a kernel that is made again finds the facts of its first container until it writes its own. */
  override ready(): Promise<StubFacts> {
    return eventually(async () => {
      const facts = await super.ready();
      return { ...facts, pid: await this.#hostPid(facts.pid) };
    }, PATIENT);
  }

  override async leaveProcess(): Promise<number> {
    const inner = await super.leaveProcess();
    return eventually(() => this.#hostPid(inner), PATIENT);
  }

  /** As long as the container runs; of an ended one only the name is left. */
  async #hostPid(inner: number): Promise<number> {
    const containers = await this.#engine.docker.listContainers({
      all: true,
      filters: { label: [`ai.backend.kernel-id=${this.#plan.kernelId}`] },
    });
    const running = containers.find(({ State }) => State === 'running');
    if (running === undefined) {
      if (containers.length > 0) throw new Error('the container does not run');
      return inner;
    }
    const pid = await this.#engine.hostPid(running.Id, inner);
    if (pid === null) throw new Error(`no process ${String(inner)} in the container`);
    return pid;
  }
}

/** Four kernels that start at once on a busy machine take their time. */
const PATIENT = { timeoutMs: 50_000 };

const handedOut = new Set<number>();

/**
 * A port outside of those that the system gives to connections and of those that daemons of tests have: it stays free
 * until the container takes it.
 */
export async function quietPort(): Promise<number> {
  for (;;) {
    const port = randomInt(17_100, 20_000);
    if (handedOut.has(port)) continue;
    handedOut.add(port);
    const server = createServer();
    const free = once(server, 'listening').then(
      () => true,
      () => false,
    );
    server.listen(port, '127.0.0.1');
    if (!(await free)) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
