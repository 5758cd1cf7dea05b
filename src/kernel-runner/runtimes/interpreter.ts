import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { OutputPump } from '../output.js';
import type { OutputSink } from '../output.js';
import { closeWriteEnds } from '../pipes.js';
import type { PipeMaker } from '../pipes.js';
import { signalGroup } from '../process-groups.js';
import type { ProcessGroups } from '../process-groups.js';
import { exitCodeOf } from './runtime.js';
import type { InputPrompt } from './runtime.js';

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

export interface Driver {
  /** For messages: `python`, `node`. */
  readonly name: string;
  readonly command: string;
  /** Arguments that start the driver. It learns the secret of its markers with the first control message. */
  readonly args: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

/**
 * What the driver says on its control channel, one JSON object a line. Before `ready`, `ask` and `done` it writes
 * marker number `mark` to both of its pipes.
 */
interface DriverMessage {
  readonly type: 'ready' | 'started' | 'ask' | 'done' | 'suggestions';
  readonly id: number;
  readonly mark?: number;
  readonly isPassword?: boolean;
  readonly exitCode?: number;
  readonly suggestions?: readonly string[];
}

interface ActiveRun {
  readonly id: number;
  readonly prompt: InputPrompt;
  /** The driver is inside user code, so a signal meets its target. */
  started: boolean;
  interrupted: boolean;
  finish: (exitCode: number) => void;
}

const COMPLETION_LIMIT_MS = 3000;
/** How long after the interpreter's death somebody may still hold its pipes. */
const PIPES_AFTER_DEATH_MS = 1000;

/**
 * One interpreter process and its driver, a small program in the interpreter's own language that runs what it is
 * told. When it dies the run that killed it ends with the process's exit code, and `alive` turns false.
 */
export class Interpreter {
  readonly #parts: RuntimeParts;
  readonly #process: ChildProcess;
  readonly #control: Duplex;
  readonly #pumps: readonly [OutputPump, OutputPump];
  readonly #completions = new Map<number, (suggestions: string[]) => void>();
  /** Resolves with the exit code when the process is gone and its output is forwarded. */
  readonly exited: Promise<number>;
  #alive = true;
  #nextId = 1;
  #run: ActiveRun | undefined;

  private constructor(
    parts: RuntimeParts,
    process: ChildProcess,
    control: Duplex,
    pumps: readonly [OutputPump, OutputPump],
  ) {
    this.#parts = parts;
    this.#process = process;
    this.#control = control;
    this.#pumps = pumps;
    control.on('error', () => undefined);
    createInterface({ input: control }).on('line', (line) => {
      this.#hear(line);
    });
    this.exited = new Promise((resolve) => {
      process.once('exit', (code, signal) => {
        this.#alive = false;
        const exitCode = exitCodeOf(code, signal, constants.signals);
        void this.#afterDeath().then(() => {
          resolve(exitCode);
        });
      });
    });
    void this.exited.then((exitCode) => this.#run?.finish(exitCode));
  }

  /** @throws the system's error when the command cannot be started. */
  static async start(driver: Driver, parts: RuntimeParts): Promise<Interpreter> {
    const secret = randomBytes(16).toString('hex');
    const pipes = await parts.pipes.open(2);
    const [out, err] = pipes;
    if (!out || !err) throw new Error('no pipes');
    const child = spawn(driver.command, driver.args, {
      cwd: parts.work,
      env: { ...parts.environment(), ...driver.environment },
      stdio: ['ignore', out.writeFd, err.writeFd, 'pipe'],
      detached: true,
    });
    closeWriteEnds(pipes);
    const marks = { secret, muteUntilFirst: false };
    const pumps = [
      new OutputPump(out.reader, 'stdout', parts.sink, marks),
      new OutputPump(err.reader, 'stderr', parts.sink, marks),
    ] as const;
    try {
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', reject);
      });
    } catch (error) {
      for (const pump of pumps) pump.abandon();
      throw error;
    }
    if (child.pid !== undefined) parts.groups.add(child.pid);
    const control = child.stdio[3] as Duplex;
    const interpreter = new Interpreter(parts, child, control, pumps);
    interpreter.#tell({ type: 'hello', secret });
    return interpreter;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get busy(): boolean {
    return this.#run !== undefined;
  }

  async run(code: string, prompt: InputPrompt): Promise<number> {
    const id = this.#nextId++;
    const exitCode = await new Promise<number>((finish) => {
      this.#run = { id, prompt, started: false, interrupted: false, finish };
      this.#tell({ type: 'run', id, code });
      if (!this.#alive) void this.exited.then(finish);
    });
    this.#run = undefined;
    return exitCode;
  }

  interrupt(): void {
    const run = this.#run;
    if (!run) return;
    run.interrupted = true;
    if (run.started) this.#signal(run);
  }

  complete(text: string): Promise<string[]> {
    if (!this.#alive || this.busy) return Promise.resolve([]);
    const id = this.#nextId++;
    return new Promise((resolve) => {
      const answer = (suggestions: string[]) => {
        clearTimeout(timer);
        this.#completions.delete(id);
        resolve(suggestions);
      };
      const timer = setTimeout(() => {
        answer([]);
      }, COMPLETION_LIMIT_MS);
      this.#completions.set(id, answer);
      void this.exited.then(() => {
        answer([]);
      });
      this.#tell({ type: 'complete', id, text });
    });
  }

  /** Ends the process and everything it started. */
  async close(): Promise<void> {
    if (this.#alive && this.#process.pid !== undefined) signalGroup(this.#process.pid, 'SIGKILL');
    await this.exited;
  }

  #tell(message: object): void {
    this.#control.write(`${JSON.stringify(message)}\n`);
  }

  #hear(line: string): void {
    let message: DriverMessage;
    try {
      message = JSON.parse(line) as DriverMessage;
    } catch {
      return; // User code got hold of the channel; what it says there is nobody's business.
    }
    const run = this.#run;
    if (message.type === 'suggestions') {
      this.#completions.get(message.id)?.([...(message.suggestions ?? [])]);
      return;
    }
    if (run?.id !== message.id) return;
    if (message.type === 'started') {
      run.started = true;
      if (run.interrupted) this.#signal(run);
    } else if (message.type === 'done') {
      run.started = false;
      void this.#marked(message.mark ?? 0).then(() => {
        run.finish(message.exitCode ?? 0);
      });
    } else if (message.type === 'ask') {
      void this.#marked(message.mark ?? 0)
        .then(() => run.prompt({ isPassword: message.isPassword ?? false }))
        .then((text) => {
          this.#tell({ type: 'input', id: message.mark, text });
        });
    }
  }

  #signal(run: ActiveRun): void {
    if (!this.#alive || this.#process.pid === undefined) return;
    signalGroup(this.#process.pid, 'SIGINT');
    this.#tell({ type: 'interrupt', id: run.id });
  }

  async #marked(number: number): Promise<void> {
    await Promise.all(this.#pumps.map((pump) => pump.marker(number)));
  }

  async #afterDeath(): Promise<void> {
    if (this.#process.pid !== undefined) this.#parts.groups.kill(this.#process.pid);
    const timer = setTimeout(() => {
      for (const pump of this.#pumps) pump.abandon();
    }, PIPES_AFTER_DEATH_MS);
    await Promise.all(this.#pumps.map((pump) => pump.ended));
    clearTimeout(timer);
    this.#control.destroy();
  }
}
