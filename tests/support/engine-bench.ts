import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { buildRunnerVolume, type DockerBackendOptions } from '../../src/backends/docker/index.js';
import type { KernelCreationConfig, KernelCreationRequest } from '../../src/kernels/requests.js';
import { CpuPlugin, MemoryPlugin } from '../../src/resources/index.js';
import { AgentBench, type AgentBenchOptions, NEVER } from '../integration/agent/agent-bench.js';
import { bundleRunner } from '../integration/runner/runner-process.js';
import { DockerBackendHarness } from './docker-backend.js';
import type { DockerEngine } from './docker-engine.js';
import { BUSYBOX_IMAGE } from './docker-images.js';
import { EngineProxy } from './engine-proxy.js';
import { bundleEntrypoint } from './entrypoint-bundle.js';
import { kernelRequest } from './kernel-requests.js';
import { expectNoRemains } from './kernel-remains.js';

/** With the real runner, for all tests of a file. */
export async function runnerVolumeOf(engine: DockerEngine): Promise<string> {
  const entrypointPath = await bundleEntrypoint(engine.directory);
  const bundle = await bundleRunner();
  try {
    const root = join(engine.directory, 'volumes');
    return (await buildRunnerVolume({ root, runnerPath: bundle.path, entrypointPath })).directory;
  } finally {
    await bundle.remove();
  }
}

export interface EngineBenchOptions extends AgentBenchOptions {
  readonly backend?: Partial<DockerBackendOptions>;
}

/** Agents on a real engine, reached through a proxy that can hold its calls up. */
export class EngineBench {
  readonly engine: DockerEngine;
  readonly proxy: EngineProxy;
  readonly #harness: DockerBackendHarness;
  readonly #options: AgentBenchOptions;
  #bench: AgentBench;

  private constructor(made: {
    readonly engine: DockerEngine;
    readonly proxy: EngineProxy;
    readonly harness: DockerBackendHarness;
    readonly options: AgentBenchOptions;
    readonly bench: AgentBench;
  }) {
    this.engine = made.engine;
    this.proxy = made.proxy;
    this.#harness = made.harness;
    this.#options = made.options;
    this.#bench = made.bench;
  }

  /** `volume`: of `runnerVolumeOf`. */
  static async start(
    engine: DockerEngine,
    volume: string,
    { backend = {}, ...options }: EngineBenchOptions = {},
  ): Promise<EngineBench> {
    const proxy = await EngineProxy.start(join(engine.directory, 'proxy.sock'), engine.socketPath);
    const harness = await DockerBackendHarness.make({
      engine,
      volume,
      backend: { socketPath: proxy.socketPath, ...backend },
    });
    const settled: AgentBenchOptions = {
      // A kernel of these tests uses next to nothing.
      resources: { plugins: [new CpuPlugin({ overcommit: 8 }), new MemoryPlugin()] },
      // Below those that the system gives to connections.
      firstPort: randomInt(10_000, 17_000),
      ...options,
    };
    const bench = await AgentBench.start(await harness.open(), settled);
    return new EngineBench({ engine, proxy, harness, options: settled, bench });
  }

  /** A restart of the daemon; `meanwhile`: what happens while it is away. */
  async restartDaemon(meanwhile: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    const { directory } = this.#bench;
    await this.#bench.stop();
    await meanwhile();
    this.#bench = await AgentBench.start(await this.#harness.open(), { ...this.#options, directory });
  }

  get bench(): AgentBench {
    return this.#bench;
  }

  get agent(): AgentBench['agent'] {
    return this.#bench.agent;
  }

  create(request: KernelCreationRequest) {
    return this.agent.createKernels([request], NEVER).then(([result]) => {
      if (result === undefined) throw new Error('a creation without a result');
      return result;
    });
  }

  destroy({ kernelId, sessionId }: KernelCreationRequest): Promise<void> {
    return this.agent.destroyKernel({ kernelId, sessionId, reason: null, suppressEvents: false });
  }

  restart({ kernelId, sessionId, imageRef }: KernelCreationRequest) {
    return this.agent.restartKernel({ kernelId, sessionId, imageRef, updatedConfig: {} }, NEVER);
  }

  /** Of the one container of a kernel. */
  async inspect({ kernelId }: Pick<KernelCreationRequest, 'kernelId'>) {
    const { docker } = this.engine;
    const filters = { label: [`ai.backend.kernel-id=${kernelId}`] };
    const [found, ...others] = await docker.listContainers({ all: true, filters });
    if (found === undefined || others.length > 0)
      throw new Error(`${String(others.length + (found ? 1 : 0))} containers of kernel ${kernelId}`);
    return docker.getContainer(found.Id).inspect();
  }

  /** What a command in the kernel's container prints. */
  async exec(
    kernel: Pick<KernelCreationRequest, 'kernelId'>,
    ...command: readonly string[]
  ): Promise<string> {
    const { Id } = await this.inspect(kernel);
    const run = await this.engine.docker
      .getContainer(Id)
      .exec({ Cmd: [...command], AttachStdout: true, AttachStderr: true, Tty: true });
    let text = '';
    for await (const chunk of await run.start({ Tty: true })) text += String(chunk);
    return text.replaceAll('\r', '').trimEnd();
  }

  /** Ends every kernel and checks that nothing of them is left on this machine and in the books. */
  async stop(): Promise<void> {
    this.proxy.heal();
    try {
      for (const agent of this.#bench.agents) await agent.reset(NEVER);
      await expectNoRemains(this.#bench);
    } finally {
      await this.#bench.stop();
      await this.#bench.remove();
      await this.#harness[Symbol.asyncDispose]();
      await this.proxy.stop();
    }
  }
}

/** For the kernel that needs nothing of its image. */
export function busyboxRequest(
  changes: Parameters<typeof kernelRequest>[0] & { readonly labels?: Readonly<Record<string, string>> } = {},
): KernelCreationRequest {
  const { labels = {}, config, ...others } = changes;
  const { image } = kernelRequest().config;
  const own: Partial<KernelCreationConfig> = {
    image: {
      ...image,
      canonical: BUSYBOX_IMAGE,
      isLocal: true,
      autoPull: 'none',
      labels: { 'ai.backend.kernelspec': '1', 'ai.backend.runtime-type': 'app', ...labels },
    },
  };
  return kernelRequest({
    ...others,
    imageRef: { canonical: BUSYBOX_IMAGE, architecture: 'x86_64', isLocal: true },
    config: { ...own, ...config },
  });
}
