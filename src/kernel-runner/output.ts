import { createWriteStream, mkdirSync, statSync } from 'node:fs';
import type { WriteStream } from 'node:fs';
import type { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { MarkerScanner } from './marker-scanner.js';
import type { Outgoing } from './outgoing.js';

export type StreamName = 'stdout' | 'stderr';

/** Where the output of user code goes: to the agent, into the container log and, if there is one, the task log. */
export class OutputSink {
  readonly #outgoing: Outgoing;
  readonly #copies: Record<StreamName, NodeJS.WritableStream>;
  #taskLog: WriteStream | undefined;

  constructor(outgoing: Outgoing, copies: Record<StreamName, NodeJS.WritableStream>) {
    this.#outgoing = outgoing;
    this.#copies = copies;
  }

  emit(name: StreamName, chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#outgoing.post(name, chunk);
    this.#copies[name].write(chunk);
    this.#taskLog?.write(chunk);
  }

  /** A line of the runner itself, told apart by its prefix. */
  say(text: string): void {
    this.emit('stderr', Buffer.from(`[kernel runner] ${text}\n`));
  }

  /** Appends to a task log until the returned function is called. A log that cannot be written is no error. */
  logTo(path: string): () => void {
    try {
      mkdirSync(dirname(path), { recursive: true });
    } catch {
      return () => undefined;
    }
    const log = createWriteStream(path, { flags: 'a' });
    log.on('error', () => undefined);
    this.#taskLog = log;
    return () => {
      if (this.#taskLog === log) this.#taskLog = undefined;
      log.end();
    };
  }

  get congested(): boolean {
    return this.#outgoing.congested;
  }

  clear(): Promise<void> {
    return this.#outgoing.clear();
  }
}

/** Path of the task log (spec/kernel-runner.md 4.5), or undefined when the user asked for none. */
export function taskLogPath(work: string, kernelId: string | undefined): string | undefined {
  const logs = join(work, '.logs');
  if (!statSync(logs, { throwIfNoEntry: false })?.isDirectory()) return undefined;
  const hex = kernelId?.replaceAll('-', '').toLowerCase() ?? '';
  if (!/^[0-9a-f]{32}$/.test(hex)) return undefined;
  return join(logs, 'task', hex.slice(0, 2), hex.slice(2, 4), `${hex.slice(4)}.log`);
}

/**
 * Forwards one pipe of a child. Chunks are posted in the order in which they are read from either pipe, and while
 * the way to the agent is congested the pipe is not read: the child then waits on its full pipe.
 */
export class OutputPump {
  /** Resolves when the pipe is at its end: every process that held it has let go. */
  readonly ended: Promise<void>;
  readonly #reader: Socket;
  readonly #scanner: MarkerScanner | undefined;
  #lastMarker = -1;
  #over = false;
  #waiting: { readonly number: number; readonly resolve: () => void }[] = [];
  /** Output before the first marker is the interpreter's own noise. */
  #muted: boolean;

  constructor(
    reader: Socket,
    name: StreamName,
    sink: OutputSink,
    marks?: { readonly secret: string; readonly muteUntilFirst: boolean },
  ) {
    this.#reader = reader;
    this.#scanner = marks ? new MarkerScanner(marks.secret) : undefined;
    this.#muted = marks?.muteUntilFirst ?? false;
    reader.on('data', (chunk: Buffer) => {
      this.#take(chunk, name, sink);
      if (sink.congested) {
        reader.pause();
        void sink.clear().then(() => reader.resume());
      }
    });
    // A pipe has no errors worth more than its end.
    reader.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      reader.once('close', () => {
        this.#over = true;
        if (this.#scanner && !this.#muted) sink.emit(name, this.#scanner.rest());
        for (const { resolve: done } of this.#waiting.splice(0)) done();
        resolve();
      });
    });
  }

  /** Resolves when the marker with this number, or a later one, was read; also at the end of the pipe. */
  marker(number: number): Promise<void> {
    if (this.#over || this.#lastMarker >= number) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ number, resolve }));
  }

  /** Lets go of the pipe although somebody still holds its other end. */
  abandon(): void {
    this.#reader.destroy();
  }

  #take(chunk: Buffer, name: StreamName, sink: OutputSink): void {
    if (!this.#scanner) {
      sink.emit(name, chunk);
      return;
    }
    const { output, markers } = this.#scanner.push(chunk);
    if (!this.#muted) for (const part of output) sink.emit(name, part);
    else if (markers.length > 0) this.#muted = false;
    for (const number of markers) this.#lastMarker = Math.max(this.#lastMarker, number);
    if (markers.length === 0) return;
    const reached = this.#waiting.filter(({ number }) => number <= this.#lastMarker);
    this.#waiting = this.#waiting.filter(({ number }) => number > this.#lastMarker);
    for (const { resolve } of reached) resolve();
  }
}
