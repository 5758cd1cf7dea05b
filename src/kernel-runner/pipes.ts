import { execFile } from 'node:child_process';
import { closeSync, constants, openSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { Worker } from 'node:worker_threads';

/** A pipe whose write end goes to a child: close `writeFd` here once the child has it. */
export interface ChildPipe {
  readonly writeFd: number;
  readonly reader: Socket;
}

const OWN_DESCRIPTORS = '/proc/self/fd';
/** Lives until it is ended. */
const IDLE_WORKER = `require('node:worker_threads').parentPort.once('message', () => undefined);`;

/**
 * Makes real pipes. What Node hands to children as 'pipe' is a socket pair, and a program that opens `/dev/stdout` or
 * `/dev/stderr` (`echo oops > /dev/stderr`) fails on a socket.
 */
export class PipeMaker {
  readonly #directory: string;
  /** One after another: two that look for new pipes at one time would take each other's. */
  #last: Promise<unknown> = Promise.resolve();

  /** `directory` is for named pipes that have a name only until both ends are open. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  open(count: number): Promise<ChildPipe[]> {
    const next = this.#last.then(() => this.#open(count));
    this.#last = next.catch(() => undefined);
    return next;
  }

  async #open(count: number): Promise<ChildPipe[]> {
    const paths = Array.from({ length: count }, () => join(this.#directory, `pipe-${randomUUID()}`));
    // The quick way, where the image has the program.
    const named = await new Promise<boolean>((resolve) => {
      execFile('mkfifo', ['-m', '600', ...paths], (error) => {
        resolve(error === null);
      });
    });
    try {
      if (named) return paths.map(openPipe);
    } finally {
      for (const path of paths) rmSync(path, { force: true });
    }
    const pipes: ChildPipe[] = [];
    for (let index = 0; index < count; index += 1) pipes.push(await pipeOfWorker());
    return pipes;
  }
}

/**
 * Node offers no way to make a pipe, but every thread of it makes one for its signals. We open both ends of that of
 * a thread which handles none, and end the thread: what is left is a pipe that is ours alone.
 */
async function pipeOfWorker(): Promise<ChildPipe> {
  const before = new Set(ownPipes().values());
  const worker = new Worker(IDLE_WORKER, { eval: true });
  try {
    await once(worker, 'online');
    for (const [descriptor, pipe] of ownPipes())
      if (!before.has(pipe)) return openPipe(join(OWN_DESCRIPTORS, descriptor));
    throw new Error('cannot make a pipe: there is no mkfifo, and this Node.js makes none for its threads');
  } finally {
    await worker.terminate();
  }
}

/** Descriptor -> which pipe it is an end of. */
function ownPipes(): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const descriptor of readdirSync(OWN_DESCRIPTORS))
    try {
      const target = readlinkSync(join(OWN_DESCRIPTORS, descriptor));
      if (target.startsWith('pipe:')) found.set(descriptor, target);
    } catch {
      // Closed meanwhile.
    }
  return found;
}

function openPipe(path: string): ChildPipe {
  // The read end first and without waiting; with it open, opening the write end does not wait either.
  const readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writeFd = openSync(path, constants.O_WRONLY);
  return { writeFd, reader: new Socket({ fd: readFd, readable: true, writable: false }) };
}

export function closeWriteEnds(pipes: readonly ChildPipe[]): void {
  for (const { writeFd } of pipes) closeSync(writeFd);
}
