import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { messageOf } from './complaint.js';
import { OutputPump } from './output.js';
import { closeWriteEnds } from './pipes.js';
import { signalGroup } from './process-groups.js';
import type { RuntimeParts } from './runtimes/runtime-process.js';
import { exitCodeOf } from './runtimes/runtime.js';

const FAILED_IN_RUNNER = -1;

/** Runs one command of a batch step at a time and forwards its output. */
export class CommandRunner {
  readonly #parts: RuntimeParts;
  #pid: number | undefined;
  #running = false;
  /** An interrupt that came before there was a process to receive it. */
  #interruptedEarly = false;

  constructor(parts: RuntimeParts) {
    this.#parts = parts;
  }

  /**
   * Resolves with the exit code once the process has exited and both of its pipes are at their end, so a child in the
   * background that keeps stdout open delays it (spec/kernel-runner.md 2.3). A command that cannot be started ends
   * with -1, and says why on stderr.
   */
  async run(argv: readonly string[], extra: Readonly<Record<string, string>>): Promise<number> {
    const { sink, groups, work, environment } = this.#parts;
    const [command, ...args] = argv;
    if (command === undefined) return 0;
    this.#running = true;
    this.#interruptedEarly = false;
    try {
      const pipes = await this.#parts.pipes.open(2);
      const [out, err] = pipes;
      if (!out || !err) return FAILED_IN_RUNNER;
      const child = spawn(command, args, {
        cwd: work,
        env: { ...environment(), ...extra },
        stdio: ['ignore', out.writeFd, err.writeFd],
        detached: true,
      });
      closeWriteEnds(pipes);
      const pumps = [new OutputPump(out.reader, 'stdout', sink), new OutputPump(err.reader, 'stderr', sink)];
      const exited = new Promise<number>((resolve, reject) => {
        child.once('error', reject);
        child.once('exit', (code, signal) => {
          resolve(exitCodeOf(code, signal, constants.signals));
        });
      });
      this.#pid = child.pid;
      if (child.pid !== undefined) groups.add(child.pid);
      if (this.#wasInterrupted()) this.interrupt();
      const [exitCode] = await Promise.all([exited, ...pumps.map((pump) => pump.ended)]);
      if (child.pid !== undefined) groups.leave(child.pid);
      return exitCode;
    } catch (error) {
      sink.say(`cannot run the command: ${messageOf(error)}`);
      return FAILED_IN_RUNNER;
    } finally {
      this.#pid = undefined;
      this.#running = false;
    }
  }

  /** Is the working directory built with make? */
  hasMakefile(): boolean {
    return existsSync(join(this.#parts.work, 'Makefile'));
  }

  /** SIGINT to the command and what it started, as a terminal does; without a command it does nothing. */
  interrupt(): void {
    if (this.#pid !== undefined) signalGroup(this.#pid, 'SIGINT');
    else if (this.#running) this.#interruptedEarly = true;
  }

  #wasInterrupted(): boolean {
    return this.#interruptedEarly;
  }
}
