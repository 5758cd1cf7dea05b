import type { CommandRunner } from './command.js';
import { jsonPayload, RESPONSE } from './messages.js';
import type { Outgoing } from './outgoing.js';
import { taskLogPath } from './output.js';
import type { OutputSink } from './output.js';
import type { InputRequests } from './user-input.js';
import type { Runtime } from './runtimes/runtime.js';

export type TaskKind = 'clean' | 'build' | 'exec' | 'code';

export interface TaskParts {
  readonly outgoing: Outgoing;
  readonly sink: OutputSink;
  readonly runtime: Runtime;
  readonly commands: CommandRunner;
  readonly inputs: InputRequests;
  readonly work: string;
  readonly kernelId: string | undefined;
  /** Extra variables of a program that runs in batch mode. */
  readonly batchVariables: () => Readonly<Record<string, string>>;
}

interface Task {
  readonly kind: TaskKind;
  /** Null for a task beyond the bounds: it only gets its result. */
  readonly text: string | null;
}

const FINISHED = {
  clean: RESPONSE.cleanFinished,
  build: RESPONSE.buildFinished,
  exec: RESPONSE.finished,
  code: RESPONSE.finished,
} as const;

/** Between the end of a step and its result: the original agent loses messages that follow faster (2.3). */
const BEFORE_RESULT_MS = 10;
const MAX_TASKS = 1024;
const MAX_QUEUED_BYTES = 64 << 20;
const SKIPPED = 127;
const REFUSED = -1;

/** Drains `clean`, `build`, `exec` and `code` one after another; each ends with exactly one result message. */
export class TaskQueue {
  readonly #parts: TaskParts;
  readonly #queue: Task[] = [];
  #queuedBytes = 0;
  #current: Task | undefined;
  #buildFailed = false;
  #lastExec: number | undefined;

  constructor(parts: TaskParts) {
    this.#parts = parts;
  }

  /** Kinds of the tasks without a result yet, in order. */
  get pending(): readonly TaskKind[] {
    return [...(this.#current ? [this.#current] : []), ...this.#queue].map(({ kind }) => kind);
  }

  /** Exit code of the `exec` that finished last. */
  get lastExec(): number | undefined {
    return this.#lastExec;
  }

  add(kind: TaskKind, text: string): void {
    const fits = this.#queue.length < MAX_TASKS && this.#queuedBytes + text.length <= MAX_QUEUED_BYTES;
    this.#queue.push({ kind, text: fits ? text : null });
    if (fits) this.#queuedBytes += text.length;
    if (!this.#current) void this.#drain();
  }

  /** Interrupts what runs now; tasks that wait stay. */
  interrupt(): void {
    if (this.#current?.kind === 'code') this.#parts.runtime.interrupt();
    else if (this.#current) this.#parts.commands.interrupt();
  }

  async #drain(): Promise<void> {
    for (let task = this.#queue.shift(); task; task = this.#queue.shift()) {
      this.#current = task;
      this.#queuedBytes -= task.text?.length ?? 0;
      const exitCode = await this.#perform(task);
      this.#parts.inputs.forget();
      await new Promise((resolve) => setTimeout(resolve, BEFORE_RESULT_MS));
      this.#current = undefined;
      if (task.kind === 'exec') this.#lastExec = exitCode;
      this.#parts.outgoing.post(FINISHED[task.kind], jsonPayload({ exitCode }));
    }
  }

  async #perform({ kind, text }: Task): Promise<number> {
    if (text === null) {
      this.#parts.sink.say('refused: too many tasks wait already');
      if (kind === 'build') this.#buildFailed = true;
      return REFUSED;
    }
    switch (kind) {
      case 'code':
        return this.#parts.runtime.execute(text, (options) => this.#parts.inputs.ask(options));
      case 'clean':
        return this.#step(text === '*' ? '' : text, {});
      case 'build': {
        const exitCode = text === '*' ? await this.#builtin('build') : await this.#step(text, {});
        this.#buildFailed = exitCode !== 0;
        return exitCode;
      }
      case 'exec': {
        if (this.#buildFailed) {
          this.#buildFailed = false;
          return SKIPPED;
        }
        return text === '*' ? this.#builtin('exec') : this.#step(text, this.#batchMode());
      }
    }
  }

  async #builtin(step: 'build' | 'exec'): Promise<number> {
    if (step === 'build' && this.#parts.commands.hasMakefile()) return this.#command(['make'], {});
    const command = this.#parts.runtime.builtinCommand(step);
    if ('argv' in command) return this.#command(command.argv, command.batchMode ? this.#batchMode() : {});
    if (command.exitCode !== 0) this.#parts.sink.say(command.why);
    return command.exitCode;
  }

  async #step(text: string, extra: Readonly<Record<string, string>>): Promise<number> {
    return text === '' ? 0 : this.#command(['/bin/sh', '-c', text], extra);
  }

  async #command(argv: readonly string[], extra: Readonly<Record<string, string>>): Promise<number> {
    const path = taskLogPath(this.#parts.work, this.#parts.kernelId);
    const stopLogging = path === undefined ? () => undefined : this.#parts.sink.logTo(path);
    try {
      return await this.#parts.commands.run(argv, extra);
    } finally {
      stopLogging();
    }
  }

  #batchMode(): Readonly<Record<string, string>> {
    return { ...this.#parts.batchVariables(), _BACKEND_BATCH_MODE: '1' };
  }
}
