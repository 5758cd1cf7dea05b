import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { within } from '../../../src/core/async.js';
import { parseKernelId } from '../../../src/core/ids.js';
import { silentLogger } from '../../../src/core/logger.js';
import type { ConsoleResult, ExecutionRequest } from '../../../src/runner/execution.js';
import { RunnerLink } from '../../../src/runner/link.js';
import type { RunnerLinkOptions } from '../../../src/runner/link.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** Longest time for anything on a busy machine; no test measures it. */
export const PATIENCE_MS = 25_000;

/** The runner as it is shipped: one file. Kept inside the project, so that it finds zeromq. */
export async function bundleRunner(): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const path = join(ROOT, 'node_modules/.cache', `kernel-runner-${randomUUID()}.mjs`);
  await build({
    entryPoints: [join(ROOT, 'src/kernel-runner/main.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['zeromq'],
    outfile: path,
    logLevel: 'warning',
    banner: {
      js: "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);",
    },
  });
  return { path, remove: () => rm(path, { force: true }) };
}

export interface RunnerProcessOptions {
  readonly bundle: string;
  readonly runtime: 'python' | 'node' | 'shell' | 'app';
  readonly args?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Called with the directory before the runner starts. */
  readonly prepare?: (directory: KernelDirectory) => Promise<void>;
}

export interface KernelDirectory {
  readonly root: string;
  readonly work: string;
  readonly config: string;
  readonly serviceDefinitions: string;
}

/** A real runner process in a directory of its own, and links to it. */
export class RunnerProcess {
  readonly directory: KernelDirectory;
  readonly endpoints: { readonly replIn: string; readonly replOut: string };
  readonly process: ChildProcess;
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  readonly #links: RunnerLink[] = [];
  /** What it wrote to the container log. */
  log = '';

  private constructor(directory: KernelDirectory, options: RunnerProcessOptions) {
    this.directory = directory;
    this.endpoints = {
      replIn: `ipc://${directory.root}/in.sock`,
      replOut: `ipc://${directory.root}/out.sock`,
    };
    this.process = spawn(
      process.execPath,
      [
        options.bundle,
        ...['--repl-in', this.endpoints.replIn, '--repl-out', this.endpoints.replOut],
        ...['--runtime', options.runtime, '--work', directory.work, '--config', directory.config],
        ...['--service-defs', directory.serviceDefinitions],
        ...(options.args ?? []),
      ],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...options.environment } },
    );
    for (const stream of [this.process.stdout, this.process.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.log += text;
      });
    this.exited = new Promise((resolve) => {
      this.process.once('exit', (code, signal) => {
        resolve({ code, signal });
      });
    });
  }

  static async start(options: RunnerProcessOptions): Promise<RunnerProcess> {
    const root = await mkdtemp(join(tmpdir(), 'kr-'));
    const directory = {
      root,
      work: join(root, 'work'),
      config: join(root, 'config'),
      serviceDefinitions: join(root, 'service-defs'),
    };
    for (const path of [directory.work, directory.config, directory.serviceDefinitions]) await mkdir(path);
    await options.prepare?.(directory);
    return new RunnerProcess(directory, options);
  }

  link(options: Partial<RunnerLinkOptions> = {}): RunnerLink {
    const link = RunnerLink.connect({
      kernelId: parseKernelId(randomUUID()),
      endpoints: this.endpoints,
      logger: silentLogger,
      ...options,
    });
    this.#links.push(link);
    return link;
  }

  async stop(): Promise<void> {
    for (const link of this.#links) await link.close();
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.process.kill('SIGTERM');
      await within(this.exited, { timeoutMs: PATIENCE_MS, what: 'the runner to stop' });
    }
    await rm(this.directory.root, { recursive: true, force: true });
  }
}

/** One console result with the usual settings. */
export function execute(link: RunnerLink, request: Partial<ExecutionRequest>): Promise<ConsoleResult> {
  return link.execute({
    runId: null,
    mode: 'query',
    code: '',
    opts: {},
    flushTimeoutMs: PATIENCE_MS,
    apiVersion: 3,
    ...request,
  }) as Promise<ConsoleResult>;
}

/** A query to its end. */
export const query = (link: RunnerLink, code: string): Promise<ConsoleResult> => execute(link, { code });

/** All text of one stream. */
export function textOf(result: ConsoleResult, stream: 'stdout' | 'stderr'): string {
  return result.console.flatMap(([type, data]) => (type === stream ? [String(data)] : [])).join('');
}

/** Results of a run from `first` on until it is finished. */
export async function untilFinished(link: RunnerLink, first: ConsoleResult): Promise<ConsoleResult[]> {
  const results = [first];
  for (let last = first; last.status !== 'finished'; results.push(last))
    last = await execute(link, { runId: first.runId, mode: 'continue' });
  return results;
}
