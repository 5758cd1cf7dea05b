import { messageOf } from '../complaint.js';
import { Interpreter } from './interpreter.js';
import type { Driver } from './interpreter.js';
import type { RuntimeParts } from './runtime-process.js';
import type { BuiltinCommand, InputPrompt, Runtime } from './runtime.js';

const NOT_STARTED = 127;

/** A runtime whose code lives in one interpreter: started by the first query, replaced after it died. */
export class InterpretedRuntime implements Runtime {
  readonly #driver: Driver;
  readonly #parts: RuntimeParts;
  readonly #builtin: (step: 'build' | 'exec') => BuiltinCommand;
  #interpreter: Interpreter | undefined;
  /** An interrupt that came before there was somebody to receive it. */
  #interruptedEarly = false;
  #starting = false;
  #closed = false;

  constructor(driver: Driver, parts: RuntimeParts, builtin: (step: 'build' | 'exec') => BuiltinCommand) {
    this.#driver = driver;
    this.#parts = parts;
    this.#builtin = builtin;
  }

  async execute(code: string, prompt: InputPrompt): Promise<number> {
    this.#interruptedEarly = false;
    let interpreter: Interpreter;
    this.#starting = true;
    try {
      interpreter = await this.#ready();
    } catch (error) {
      this.#parts.sink.say(`cannot start ${this.#driver.name}: ${messageOf(error)}`);
      return NOT_STARTED;
    } finally {
      this.#starting = false;
    }
    const running = interpreter.run(code, prompt);
    if (this.#wasInterrupted()) interpreter.interrupt();
    const exitCode = await running;
    if (!interpreter.alive && !this.#closed) {
      this.#interpreter = undefined;
      this.#parts.sink.say(
        `${this.#driver.name} ended (${describeExit(exitCode)}); its variables are lost, the next query starts a new one`,
      );
    }
    return exitCode;
  }

  interrupt(): void {
    if (this.#starting) this.#interruptedEarly = true;
    else this.#interpreter?.interrupt();
  }

  async complete(text: string): Promise<string[]> {
    if (this.#starting || this.#interpreter?.busy === true) return [];
    try {
      return await (await this.#ready()).complete(text);
    } catch {
      return [];
    }
  }

  builtinCommand(step: 'build' | 'exec'): BuiltinCommand {
    return this.#builtin(step);
  }

  #wasInterrupted(): boolean {
    return this.#interruptedEarly;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#interpreter?.close();
  }

  #opening: Promise<Interpreter> | undefined;

  async #ready(): Promise<Interpreter> {
    if (this.#interpreter && !this.#interpreter.alive) {
      const exitCode = await this.#interpreter.exited;
      this.#interpreter = undefined;
      this.#parts.sink.say(
        `${this.#driver.name} ended since the last query (${describeExit(exitCode)}); its variables are lost`,
      );
    }
    this.#opening ??= this.#interpreter
      ? Promise.resolve(this.#interpreter)
      : Interpreter.start(this.#driver, this.#parts);
    try {
      this.#interpreter = await this.#opening;
      return this.#interpreter;
    } finally {
      this.#opening = undefined;
    }
  }
}

export function describeExit(exitCode: number): string {
  return exitCode < 0 ? `signal ${String(-exitCode)}` : `exit code ${String(exitCode)}`;
}
