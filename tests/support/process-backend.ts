import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KernelBackend, KernelHandle, KernelPlan } from '../../src/backends/backend.js';
import { ProcessBackend, type ProcessBackendOptions } from '../../src/backends/process/index.js';
import { ProcessTable } from '../../src/backends/process/process-table.js';
import { parseAgentId } from '../../src/core/ids.js';
import { silentLogger } from '../../src/core/logger.js';
import type { BackendHarness, PlanOverrides } from '../contract/backend.contract.js';
import { kernelPlan } from './kernel-plan.js';
import { STUB_RUNNER, StubRunner } from './stub-runner.js';

/** A process backend with directories of its own and the stub in place of the runner. Disposes of all it started. */
export class ProcessBackendHarness implements BackendHarness {
  readonly hasImages = false;
  readonly root: string;
  readonly #overrides: Partial<ProcessBackendOptions>;
  readonly #backends: ProcessBackend[] = [];
  readonly #table = new ProcessTable();
  readonly #agents = new Set<string>();

  private constructor(root: string, overrides: Partial<ProcessBackendOptions>) {
    this.root = root;
    this.#overrides = overrides;
  }

  static async make(overrides: Partial<ProcessBackendOptions> = {}): Promise<ProcessBackendHarness> {
    return new ProcessBackendHarness(await mkdtemp(join(tmpdir(), 'spl-pb-')), overrides);
  }

  get options(): ProcessBackendOptions {
    return {
      stateDir: join(this.root, 'state'),
      socketDir: join(this.root, 's'),
      runnerPath: STUB_RUNNER,
      pollIntervalMs: 30,
      logger: silentLogger,
      ...this.#overrides,
    };
  }

  async open(): Promise<KernelBackend> {
    const backend = new ProcessBackend(this.options);
    await backend.open();
    this.#backends.push(backend);
    return backend;
  }

  plan(overrides: PlanOverrides = {}): Promise<KernelPlan> {
    const agentId = overrides.agentId ?? parseAgentId('i-process-test');
    this.#agents.add(agentId);
    return kernelPlan(this.root, { agentId, imageCanonical: 'process/stub:latest' }, overrides);
  }

  stub(plan: KernelPlan): StubRunner {
    return new StubRunner(plan.scratch.work);
  }

  workOf(plan: KernelPlan): string {
    return plan.scratch.work;
  }

  isAlive(pid: number): Promise<boolean> {
    const stat = this.#table.stat(pid);
    return Promise.resolve(stat !== null && stat.state !== 'Z' && stat.state !== 'X');
  }

  kill(pid: number): Promise<void> {
    process.kill(pid, 'SIGKILL');
    return Promise.resolve();
  }

  async leftovers(): Promise<readonly string[]> {
    const names = async (directory: string) => {
      try {
        return (await readdir(directory)).map((name) => join(directory, name));
      } catch {
        return [];
      }
    };
    return [...(await names(join(this.options.stateDir, 'kernels'))), ...(await names(join(this.root, 's')))];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const last = new ProcessBackend(this.options);
    try {
      await last.open();
      const kernels: KernelHandle[] = [];
      for (const agent of this.#agents) kernels.push(...(await last.list(parseAgentId(agent))));
      for (const kernel of kernels) await last.remove(kernel);
    } finally {
      for (const backend of [...this.#backends, last]) await backend.close();
      await rm(this.root, { recursive: true, force: true });
    }
  }
}
