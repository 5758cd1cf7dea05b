import type { InputPrompt } from './runtime.js';
import { RuntimeProcess } from './runtime-process.js';
import type { RuntimeParts } from './runtime-process.js';

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

/**
 * One interpreter process and its driver, a small program in the interpreter's own language that runs what it is
 * told. When it dies the run that killed it ends with the process's exit code, and `alive` turns false.
 */
export class Interpreter {
  readonly #process: RuntimeProcess;
  readonly #completions = new Map<number, (suggestions: string[]) => void>();
  #nextId = 1;
  #run: ActiveRun | undefined;

  private constructor(process: RuntimeProcess) {
    this.#process = process;
    process.hear((line) => {
      this.#hear(line);
    });
    void process.exited.then((exitCode) => this.#run?.finish(exitCode));
  }

  /** @throws the system's error when the command cannot be started. */
  static async start(driver: Driver, parts: RuntimeParts): Promise<Interpreter> {
    const { command, args, environment = {} } = driver;
    const process = await RuntimeProcess.start(
      { command, args, environment, input: 'none', muteUntilFirst: false },
      parts,
    );
    const interpreter = new Interpreter(process);
    interpreter.#tell({ type: 'hello', secret: process.secret });
    return interpreter;
  }

  get alive(): boolean {
    return this.#process.alive;
  }

  /** Resolves with the exit code when the process is gone and its output is forwarded. */
  get exited(): Promise<number> {
    return this.#process.exited;
  }

  get busy(): boolean {
    return this.#run !== undefined;
  }

  async run(code: string, prompt: InputPrompt): Promise<number> {
    const id = this.#nextId++;
    const exitCode = await new Promise<number>((finish) => {
      this.#run = { id, prompt, started: false, interrupted: false, finish };
      this.#tell({ type: 'run', id, code });
      if (!this.alive) void this.exited.then(finish);
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
    if (!this.alive || this.busy) return Promise.resolve([]);
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
  close(): Promise<void> {
    return this.#process.close();
  }

  #tell(message: object): void {
    this.#process.tell(JSON.stringify(message));
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
      void this.#process.marked(message.mark ?? 0).then(() => {
        run.finish(message.exitCode ?? 0);
      });
    } else if (message.type === 'ask') {
      void this.#process
        .marked(message.mark ?? 0)
        .then(() => run.prompt({ isPassword: message.isPassword ?? false }))
        .then((text) => {
          this.#tell({ type: 'input', id: message.mark, text });
        });
    }
  }

  #signal(run: ActiveRun): void {
    if (this.#process.interrupt()) this.#tell({ type: 'interrupt', id: run.id });
  }
}
