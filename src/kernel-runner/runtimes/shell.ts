import { execFile } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { messageOf } from '../complaint.js';
import { describeExit } from './interpreted.js';
import type { BuiltinCommand, Runtime } from './runtime.js';
import { CONTROL, RuntimeProcess } from './runtime-process.js';
import type { RuntimeParts } from './runtime-process.js';

const COMPLETION_LIMIT_MS = 2000;
const NOT_STARTED = 127;

interface RunningQuery {
  readonly number: number;
  readonly finish: (exitCode: number) => void;
  started: boolean;
  interrupted: boolean;
}

/**
 * One shell that reads our lines. Bash is interactive, because only then SIGINT gives up the running command and
 * keeps the shell. Other shells are not: an interactive dash throws away, on any error, what it has read ahead, and
 * with it the end of the run. There an interrupt and a syntax error end the shell, and the next query starts anew.
 */
class ShellProcess {
  readonly #process: RuntimeProcess;
  readonly #privateDirectory: string;
  #number = 0;
  #running: RunningQuery | undefined;

  private constructor(process: RuntimeProcess, privateDirectory: string) {
    this.#process = process;
    this.#privateDirectory = privateDirectory;
    process.hear((line) => {
      this.#hear(line);
    });
    void process.exited.then((exitCode) => this.#running?.finish(exitCode));
  }

  static async start(path: string, parts: RuntimeParts): Promise<ShellProcess> {
    const isBash = basename(path) === 'bash';
    const process = await RuntimeProcess.start(
      {
        command: path,
        args: isBash ? ['--noprofile', '--norc', '--noediting', '-i'] : [],
        environment: { PS1: '', PS2: '', ENV: '' },
        input: 'commands',
        // What an interactive shell without a terminal has to say at its start.
        muteUntilFirst: true,
      },
      parts,
    );
    const shell = new ShellProcess(process, parts.privateDirectory);
    // An interactive bash prints "exit" when it exits.
    if (isBash) shell.#line('set +H; exit() { builtin exit "$@" 2>/dev/null; }; export -n PS1 PS2');
    await new Promise<number>((finish) => {
      shell.#running = { number: 0, finish, started: false, interrupted: false };
      shell.#line(shell.#epilogue(0));
    });
    shell.#running = undefined;
    if (!shell.alive) throw new Error('it ended at its start');
    return shell;
  }

  get alive(): boolean {
    return this.#process.alive;
  }

  get exited(): Promise<number> {
    return this.#process.exited;
  }

  async run(code: string): Promise<number> {
    const number = ++this.#number;
    const file = join(this.#privateDirectory, 'query.sh');
    writeFileSync(file, code, { mode: 0o600 });
    const exitCode = await new Promise<number>((finish) => {
      this.#running = { number, finish, started: false, interrupted: false };
      this.#line(
        `__runner_code=$(cat ${quote(file)}); ${this.#tell(number, 'started')}; (exit $__runner_status); ` +
          'eval "$__runner_code" </dev/null 3>&- 4>&- 5>&-',
      );
      this.#line(this.#epilogue(number));
      if (!this.alive) void this.exited.then(finish);
    });
    this.#running = undefined;
    return exitCode;
  }

  interrupt(): void {
    const running = this.#running;
    if (!running || !this.alive) return;
    running.interrupted = true;
    if (running.started) this.#signal(running);
  }

  close(): Promise<void> {
    return this.#process.close();
  }

  #signal(running: RunningQuery): void {
    if (!this.#process.interrupt()) return;
    // The signal may have met the shell while it was writing the end of the run: say it again, the number tells.
    this.#line(this.#epilogue(running.number));
  }

  /**
   * Tells the exit code, marks both pipes, and leaves `$?` as it was. The marks go to descriptors 4 and 5, which user
   * code cannot redirect.
   */
  #epilogue(number: number): string {
    const marker = `\\036${this.#process.secret}${String(number).padStart(8, '0')}\\036`;
    const tell = this.#tell(number, '$__runner_status');
    return `__runner_status=$?; printf '${marker}' >&4; printf '${marker}' >&5; ${tell}; (exit $__runner_status)`;
  }

  #tell(number: number, what: string): string {
    return `printf '%s %s\\n' ${String(number)} "${what}" >&${String(CONTROL)}`;
  }

  #line(text: string): void {
    this.#process.input?.write(`${text}\n`);
  }

  #hear(line: string): void {
    const [number, what] = line.split(' ');
    const running = this.#running;
    if (running === undefined || Number(number) !== running.number) return;
    if (what === 'started') {
      running.started = true;
      if (running.interrupted) this.#signal(running);
      return;
    }
    running.started = false;
    void this.#process.marked(running.number).then(() => {
      running.finish(Number(what));
    });
  }
}

/** Queries as shell commands: variables, functions and the working directory survive from one to the next. */
export class ShellRuntime implements Runtime {
  readonly #path: string;
  readonly #parts: RuntimeParts;
  #shell: ShellProcess | undefined;
  #starting = false;
  /** An interrupt that came before there was somebody to receive it. */
  #interruptedEarly = false;

  constructor(path: string, parts: RuntimeParts) {
    this.#path = path;
    this.#parts = parts;
  }

  async execute(code: string): Promise<number> {
    this.#interruptedEarly = false;
    this.#starting = true;
    try {
      if (this.#shell && !this.#shell.alive) await this.#replaceDead(this.#shell);
      this.#shell ??= await ShellProcess.start(this.#path, this.#parts);
    } catch (error) {
      this.#parts.sink.say(`cannot start ${this.#path}: ${messageOf(error)}`);
      return NOT_STARTED;
    } finally {
      this.#starting = false;
    }
    const shell = this.#shell;
    const running = shell.run(code);
    if (this.#wasInterrupted()) shell.interrupt();
    const exitCode = await running;
    if (!shell.alive) {
      this.#shell = undefined;
      if (exitCode < 0)
        this.#parts.sink.say(
          `the shell ended (${describeExit(exitCode)}); the next query starts a new one without its variables`,
        );
    }
    return exitCode;
  }

  interrupt(): void {
    if (this.#starting) this.#interruptedEarly = true;
    else this.#shell?.interrupt();
  }

  complete(text: string): Promise<string[]> {
    const word = /[^\s;|&(){}<>"'`]*$/.exec(text)?.[0] ?? '';
    if (word === '') return Promise.resolve([]);
    return new Promise((resolve) => {
      execFile(
        'bash',
        ['-c', 'compgen -c -f -- "$1"', 'complete', word],
        {
          cwd: this.#parts.work,
          env: { ...this.#parts.environment() },
          timeout: COMPLETION_LIMIT_MS,
          maxBuffer: 1 << 20,
        },
        (_error, stdout) => {
          resolve([...new Set(stdout.split('\n').filter((line) => line !== ''))].slice(0, 500));
        },
      );
    });
  }

  builtinCommand(step: 'build' | 'exec'): BuiltinCommand {
    if (step === 'build') return { exitCode: 0, why: 'a shell has nothing to build' };
    if (existsSync(join(this.#parts.work, 'main.sh')))
      return { argv: [this.#path, 'main.sh'], batchMode: false };
    return { exitCode: NOT_STARTED, why: 'cannot find the main script main.sh' };
  }

  #wasInterrupted(): boolean {
    return this.#interruptedEarly;
  }

  async close(): Promise<void> {
    await this.#shell?.close();
  }

  async #replaceDead(shell: ShellProcess): Promise<void> {
    const exitCode = await shell.exited;
    this.#shell = undefined;
    this.#parts.sink.say(`the shell ended since the last query (${describeExit(exitCode)})`);
  }
}

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
