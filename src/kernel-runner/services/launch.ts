import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { statSync } from 'node:fs';
import { connect } from 'node:net';
import type { ProcessGroups } from '../process-groups.js';
import { signalGroup } from '../process-groups.js';
import { ServiceError } from './template.js';

export interface LaunchPlan {
  readonly name: string;
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly directory: string;
}

const PROBE_EVERY_MS = 100;
const PROBE_LIMIT_MS = 1000;

/** A service that runs. Its output goes to the container log. */
export class ServiceProcess {
  readonly exited: Promise<void>;
  readonly #child: ChildProcess;
  #alive = true;

  private constructor(child: ChildProcess, groups: ProcessGroups) {
    this.#child = child;
    this.exited = new Promise((resolve) => {
      child.once('exit', () => {
        this.#alive = false;
        if (child.pid !== undefined) groups.kill(child.pid);
        resolve();
      });
    });
  }

  /** @throws ServiceError with the spec's text for a missing directory or file, or one that is not executable. */
  static async start(plan: LaunchPlan, groups: ProcessGroups): Promise<ServiceProcess> {
    const [command = '', ...args] = plan.argv;
    if (!statSync(plan.directory, { throwIfNoEntry: false })?.isDirectory())
      throw new ServiceError(`the model directory does not exist: ${plan.directory}`);
    const child = spawn(command, args, {
      cwd: plan.directory,
      env: { ...plan.environment },
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') reject(new ServiceError(`the executable file is not found: ${command}`));
        else if (error.code === 'EACCES')
          reject(new ServiceError(`the target file is not executable: ${command}`));
        else reject(new ServiceError(`OSError(${String(-(error.errno ?? 0))}, '${error.message}')`));
      });
    });
    if (child.pid !== undefined) groups.add(child.pid);
    return new ServiceProcess(child, groups);
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** True once the port takes connections; false when the process ends or the time is up before. */
  async opens(port: number, limitMs: number): Promise<boolean> {
    const until = performance.now() + limitMs;
    while (this.#alive && performance.now() < until) {
      if (await accepts(port)) return this.#alive;
      await Promise.race([new Promise((resolve) => setTimeout(resolve, PROBE_EVERY_MS)), this.exited]);
    }
    return false;
  }

  /** SIGTERM, and SIGKILL after the grace time. */
  async end(graceMs: number): Promise<void> {
    if (!this.#alive || this.#child.pid === undefined) return;
    signalGroup(this.#child.pid, 'SIGTERM');
    const timer = setTimeout(() => {
      if (this.#alive && this.#child.pid !== undefined) signalGroup(this.#child.pid, 'SIGKILL');
    }, graceMs);
    await this.exited;
    clearTimeout(timer);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    const settle = (result: boolean) => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(PROBE_LIMIT_MS, () => {
      settle(false);
    });
    socket.once('connect', () => {
      settle(true);
    });
    socket.once('error', () => {
      settle(false);
    });
  });
}
