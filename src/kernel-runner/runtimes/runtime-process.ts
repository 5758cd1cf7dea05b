import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import type { Duplex, Writable } from 'node:stream';
import { OutputPump } from '../output.js';
import type { OutputSink } from '../output.js';
import { closeWriteEnds } from '../pipes.js';
import type { PipeMaker } from '../pipes.js';
import { signalGroup } from '../process-groups.js';
import type { ProcessGroups } from '../process-groups.js';
import { exitCodeOf } from './runtime.js';

/** What every runtime gets from the runner. */
export interface RuntimeParts {
  readonly sink: OutputSink;
  readonly groups: ProcessGroups;
  /** For the output of children. */
  readonly pipes: PipeMaker;
  /** A directory of our own, for drivers, pipes and sockets. */
  readonly privateDirectory: string;
  /** Working directory of user code. */
  readonly work: string;
  /** Environment of user code, as it is at this moment. */
  readonly environment: () => Readonly<Record<string, string>>;
}

interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** `commands`: it has an input and is told by it what to run. Its output pipes are also on descriptors 4 and 5 then. */
  readonly input: 'none' | 'commands';
  /** What it prints before its first marker is of no interest. */
  readonly muteUntilFirst: boolean;
}

/** Descriptor of the channel on which only the runner and what it runs in the process speak. */
export const CONTROL = 3;

/** How long after the process's death somebody may still hold its pipes. */
const PIPES_AFTER_DEATH_MS = 1000;

/**
 * A process that runs user code: in a group of its own, its output on two pipes that it marks where a piece of code
 * ends, and a control channel beside them.
 */
export class RuntimeProcess {
  /** What the process must put into its markers, so that no user code can forge one. */
  readonly secret: string;
  /** Resolves with the exit code when the process is gone and its output is forwarded. */
  readonly exited: Promise<number>;
  readonly #child: ChildProcess;
  readonly #groups: ProcessGroups;
  readonly #control: Duplex;
  readonly #pumps: readonly OutputPump[];
  #alive = true;

  private constructor(
    child: ChildProcess,
    made: { readonly secret: string; readonly pumps: readonly OutputPump[]; readonly groups: ProcessGroups },
  ) {
    this.#child = child;
    this.secret = made.secret;
    this.#pumps = made.pumps;
    this.#groups = made.groups;
    this.#control = child.stdio[CONTROL] as Duplex;
    this.#control.on('error', () => undefined);
    child.stdin?.on('error', () => undefined);
    if (child.pid !== undefined) made.groups.add(child.pid);
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#alive = false;
        const exitCode = exitCodeOf(code, signal, constants.signals);
        void this.#afterDeath().then(() => {
          resolve(exitCode);
        });
      });
    });
  }

  /** @throws the system's error when the command cannot be started. */
  static async start(program: Program, parts: RuntimeParts): Promise<RuntimeProcess> {
    const secret = randomBytes(16).toString('hex');
    const pipes = await parts.pipes.open(2);
    const [out, err] = pipes;
    if (!out || !err) throw new Error('no pipes');
    const hasInput = program.input === 'commands';
    const child = spawn(program.command, program.args, {
      cwd: parts.work,
      env: { ...parts.environment(), ...program.environment },
      stdio: [
        hasInput ? 'pipe' : 'ignore',
        out.writeFd,
        err.writeFd,
        'pipe',
        ...(hasInput ? [out.writeFd, err.writeFd] : []),
      ],
      detached: true,
    });
    closeWriteEnds(pipes);
    const marks = { secret, muteUntilFirst: program.muteUntilFirst };
    const pumps = [
      new OutputPump(out.reader, 'stdout', parts.sink, marks),
      new OutputPump(err.reader, 'stderr', parts.sink, marks),
    ];
    try {
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', reject);
      });
    } catch (error) {
      for (const pump of pumps) pump.abandon();
      throw error;
    }
    return new RuntimeProcess(child, { secret, pumps, groups: parts.groups });
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** Of a program with input `commands`. */
  get input(): Writable | null {
    return this.#child.stdin;
  }

  /** A line for the control channel. */
  tell(line: string): void {
    this.#control.write(`${line}\n`);
  }

  /** Every line of the control channel. To be called once, right after the start. */
  hear(listener: (line: string) => void): void {
    createInterface({ input: this.#control }).on('line', listener);
  }

  /** Resolves when marker number `number` has come on both pipes: what was printed before it is forwarded. */
  async marked(number: number): Promise<void> {
    await Promise.all(this.#pumps.map((pump) => pump.marker(number)));
  }

  /** False: it is gone already. */
  interrupt(): boolean {
    if (!this.#alive || this.#child.pid === undefined) return false;
    signalGroup(this.#child.pid, 'SIGINT');
    return true;
  }

  /** Ends the process and everything it started. */
  async close(): Promise<void> {
    if (this.#alive && this.#child.pid !== undefined) signalGroup(this.#child.pid, 'SIGKILL');
    await this.exited;
  }

  async #afterDeath(): Promise<void> {
    if (this.#child.pid !== undefined) this.#groups.kill(this.#child.pid);
    const timer = setTimeout(() => {
      for (const pump of this.#pumps) pump.abandon();
    }, PIPES_AFTER_DEATH_MS);
    await Promise.all(this.#pumps.map((pump) => pump.ended));
    clearTimeout(timer);
    this.#control.destroy();
  }
}
