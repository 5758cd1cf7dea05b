import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { messageOf } from '../complaint.js';
import { OutputPump } from '../output.js';
import { closeWriteEnds } from '../pipes.js';
import { signalGroup } from '../process-groups.js';
import { describeExit } from './interpreted.js';
import type { RuntimeParts } from './interpreter.js';
import { exitCodeOf } from './runtime.js';
import type { BuiltinCommand, Runtime } from './runtime.js';

const COMPLETION_LIMIT_MS = 2000;
const PIPES_AFTER_DEATH_MS = 1000;
const NOT_STARTED = 127;

/** Descriptor on which the shell tells exit codes; markers go to 4 and 5, which user code cannot redirect. */
const CONTROL = 3;

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
  readonly #parts: RuntimeParts;
  readonly #process: ChildProcess;
  readonly #input: Writable;
  readonly #pumps: readonly [OutputPump, OutputPump];
  readonly #secret: string;
  readonly exited: Promise<number>;
  #alive = true;
  #number = 0;
  #running: RunningQuery | undefined;

  private constructor(
    parts: RuntimeParts,
    process: ChildProcess,
    secret: string,
    pumps: readonly [OutputPump, OutputPump],
  ) {
    this.#parts = parts;
    this.#process = process;
    this.#secret = secret;
    this.#pumps = pumps;
    this.#input = process.stdin as Writable;
    this.#input.on('error', () => undefined);
    const control = process.stdio[CONTROL] as Readable;
    control.on('error', () => undefined);
    createInterface({ input: control }).on('line', (line) => {
      this.#hear(line);
    });
    this.exited = new Promise((resolve) => {
      process.once('exit', (code, signal) => {
        this.#alive = false;
        const exitCode = exitCodeOf(code, signal, constants.signals);
        void this.#afterDeath(control).then(() => {
          resolve(exitCode);
        });
      });
    });
    void this.exited.then((exitCode) => this.#running?.finish(exitCode));
  }

  static async start(path: string, parts: RuntimeParts): Promise<ShellProcess> {
    const secret = randomBytes(16).toString('hex');
    const pipes = await parts.pipes.open(2);
    const [out, err] = pipes;
    if (!out || !err) throw new Error('no pipes');
    const isBash = basename(path) === 'bash';
    const child = spawn(path, isBash ? ['--noprofile', '--norc', '--noediting', '-i'] : [], {
      cwd: parts.work,
      env: { ...parts.environment(), PS1: '', PS2: '', ENV: '' },
      stdio: ['pipe', out.writeFd, err.writeFd, 'pipe', out.writeFd, err.writeFd],
      detached: true,
    });
    closeWriteEnds(pipes);
    // What an interactive shell without a terminal has to say at its start is of no interest.
    const marks = { secret, muteUntilFirst: true };
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
    const shell = new ShellProcess(parts, child, secret, pumps);
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
    return this.#alive;
  }

  async run(code: string): Promise<number> {
    const number = ++this.#number;
    const file = join(this.#parts.privateDirectory, 'query.sh');
    writeFileSync(file, code, { mode: 0o600 });
    const exitCode = await new Promise<number>((finish) => {
      this.#running = { number, finish, started: false, interrupted: false };
      this.#line(
        `__runner_code=$(cat ${quote(file)}); ${this.#tell(number, 'started')}; (exit $__runner_status); ` +
          'eval "$__runner_code" </dev/null 3>&- 4>&- 5>&-',
      );
      this.#line(this.#epilogue(number));
      if (!this.#alive) void this.exited.then(finish);
    });
    this.#running = undefined;
    return exitCode;
  }

  interrupt(): void {
    const running = this.#running;
    if (!running || !this.#alive) return;
    running.interrupted = true;
    if (running.started) this.#signal(running);
  }

  async close(): Promise<void> {
    if (this.#alive && this.#process.pid !== undefined) signalGroup(this.#process.pid, 'SIGKILL');
    await this.exited;
  }

  #signal(running: RunningQuery): void {
    if (this.#process.pid === undefined) return;
    signalGroup(this.#process.pid, 'SIGINT');
    // The signal may have met the shell while it was writing the end of the run: say it again, the number tells.
    this.#line(this.#epilogue(running.number));
  }

  /** Tells the exit code, marks both pipes, and leaves `$?` as it was. */
  #epilogue(number: number): string {
    const marker = `\\036${this.#secret}${String(number).padStart(8, '0')}\\036`;
    const tell = this.#tell(number, '$__runner_status');
    return `__runner_status=$?; printf '${marker}' >&4; printf '${marker}' >&5; ${tell}; (exit $__runner_status)`;
  }

  #tell(number: number, what: string): string {
    return `printf '%s %s\\n' ${String(number)} "${what}" >&${String(CONTROL)}`;
  }

  #line(text: string): void {
    this.#input.write(`${text}\n`);
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
    void Promise.all(this.#pumps.map((pump) => pump.marker(running.number))).then(() => {
      running.finish(Number(what));
    });
  }

  async #afterDeath(control: Readable): Promise<void> {
    if (this.#process.pid !== undefined) this.#parts.groups.kill(this.#process.pid);
    const timer = setTimeout(() => {
      for (const pump of this.#pumps) pump.abandon();
    }, PIPES_AFTER_DEATH_MS);
    await Promise.all(this.#pumps.map((pump) => pump.ended));
    clearTimeout(timer);
    control.destroy();
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
