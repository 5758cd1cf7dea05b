// A process of the benchmark that takes JSON lines on standard input and answers each with one JSON line. It ends when its
// standard input is closed.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** Ticks of utime and stime in a second, as `getconf CLK_TCK` prints on every Linux. */
const TICKS_PER_SECOND = 100;
/** What `node --trace-gc` writes between the answers, with the kind of the collection. */
const COLLECTION = /^\[\d+:0x[0-9a-f]+\].*? ms: (?<kind>Scavenge|Mark-Compact)/;

export class Child {
  #process;
  #name;
  #waiting = [];
  #collections = { scavenges: 0, full: 0 };

  constructor(name, command, args, options = {}) {
    this.#name = name;
    this.#process = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], ...options });
    createInterface({ input: this.#process.stdout })
      .on('line', (line) => this.#hear(line))
      .on('close', () => {
        for (const { reject } of this.#waiting.splice(0))
          reject(new Error(`${name} ended before it had answered`));
      });
  }

  get pid() {
    return this.#process.pid;
  }

  /** Sends one value and returns the answer. */
  ask(question) {
    return new Promise((resolve, reject) => {
      if (this.#process.exitCode !== null) throw new Error(`${this.#name} has ended`);
      this.#waiting.push({ resolve, reject });
      this.#process.stdin.write(`${JSON.stringify(question)}\n`);
    });
  }

  /** Collections of garbage so far, of a server that is started with `--trace-gc`. */
  get collections() {
    return { ...this.#collections };
  }

  #hear(line) {
    const kind = COLLECTION.exec(line)?.groups.kind;
    if (kind === 'Scavenge') this.#collections.scavenges += 1;
    else if (kind === 'Mark-Compact') this.#collections.full += 1;
    else if (!line.startsWith('[')) this.#waiting.shift()?.resolve(JSON.parse(line));
  }

  /** CPU time of all its threads so far, in milliseconds, to the next 10. */
  cpuMs() {
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'latin1');
    // The second field is the name in parentheses, which may hold blanks; utime and stime are the 14th and 15th.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND;
  }

  /** CPU time so far by thread, in microseconds: the main one, and the others by their names. */
  threadsUs() {
    const times = {};
    for (const id of readdirSync(`/proc/${this.pid}/task`)) {
      const directory = `/proc/${this.pid}/task/${id}`;
      // A thread may end at any time.
      if (!existsSync(directory)) continue;
      const name = Number(id) === this.pid ? 'main' : readFileSync(`${directory}/comm`, 'latin1').trim();
      const ns = Number(readFileSync(`${directory}/schedstat`, 'latin1').split(' ')[0]);
      times[name] = (times[name] ?? 0) + ns / 1000;
    }
    return times;
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
