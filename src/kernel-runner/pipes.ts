import { execFile } from 'node:child_process';
import { closeSync, constants, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';

/** A pipe whose write end goes to a child: close `writeFd` here once the child has it. */
export interface ChildPipe {
  readonly writeFd: number;
  readonly reader: Socket;
}

/**
 * Real pipes. What Node hands to children as 'pipe' is a socket pair, and a program that opens `/dev/stdout` or
 * `/dev/stderr` (`echo oops > /dev/stderr`) fails on a socket. The file names are gone once both ends are open.
 */
export async function openPipes(directory: string, count: number): Promise<ChildPipe[]> {
  const paths = Array.from({ length: count }, () => join(directory, `pipe-${randomUUID()}`));
  await new Promise<void>((resolve, reject) => {
    execFile('mkfifo', ['-m', '600', ...paths], (error) => {
      if (error) reject(new Error(`cannot make pipes with mkfifo: ${error.message}`, { cause: error }));
      else resolve();
    });
  });
  try {
    return paths.map(openPipe);
  } finally {
    for (const path of paths) rmSync(path, { force: true });
  }
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
