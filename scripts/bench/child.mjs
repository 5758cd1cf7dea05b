// A process of the benchmark that takes JSON lines on standard input and answers each with one JSON line. It ends when its
// standard input is closed.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** Ticks of utime and stime in a second, as `getconf CLK_TCK` prints on every Linux. */
const TICKS_PER_SECOND = 100;

export class Child {
  #process;
  #lines;
  #name;

  constructor(name, command, args, options = {}) {
    this.#name = name;
    this.#process = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], ...options });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  get pid() {
    return this.#process.pid;
  }

  /** Sends one value and returns the answer. */
  async ask(question) {
    this.#process.stdin.write(`${JSON.stringify(question)}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.#name} ended before it had answered`);
    return JSON.parse(value);
  }

  /** CPU time of all its threads so far, in milliseconds, to the next 10. */
  cpuMs() {
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'latin1');
    // The second field is the name in parentheses, which may hold blanks; utime and stime are the 14th and 15th.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND;
  }

  async end() {
    if (this.#process.exitCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.stdin.end();
    await exited;
  }

  kill() {
    this.#process.kill('SIGKILL');
  }
}

/** The other side: answers every line of standard input with what `answer` makes of it, one after another. */
export async function serveLines(answer) {
  for await (const line of createInterface({ input: process.stdin })) {
    const value = await answer(JSON.parse(line));
    process.stdout.write(`${JSON.stringify(value)}\n`);
  }
}
