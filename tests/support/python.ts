import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const SCRIPTS = fileURLToPath(new URL('../interop/python/', import.meta.url));

/**
 * A script of tests/interop/python: takes one JSON value on standard input, prints JSON lines. What it writes to
 * standard error becomes part of the failure.
 */
export class PythonScript {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterableIterator<string>;
  readonly #exited: Promise<number | null>;
  #complaints = '';

  constructor(interpreter: string, script: string, input: unknown) {
    this.#process = spawn(interpreter, ['-u', `${SCRIPTS}${script}`], { stdio: 'pipe' });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
    this.#exited = new Promise((resolve, reject) => {
      this.#process.once('error', reject);
      this.#process.once('close', resolve);
    });
    this.#process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaints += text;
    });
    this.write(input);
  }

  /** One more JSON value on standard input, for a script that takes several. */
  write(input: unknown): void {
    this.#process.stdin.write(`${JSON.stringify(input)}\n`);
  }

  /** The next JSON line. */
  async next(): Promise<unknown> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`the script ended early:\n${this.#complaints}`);
    return JSON.parse(line.value) as unknown;
  }

  /** Closes standard input, which ends every script, and returns the lines that were not read yet. */
  async end(): Promise<unknown[]> {
    this.#process.stdin.end();
    const lines: unknown[] = [];
    for await (const line of this.#lines) lines.push(JSON.parse(line));
    const code = await this.#exited;
    if (code !== 0) throw new Error(`the script ended with ${String(code)}:\n${this.#complaints}`);
    return lines;
  }
}
