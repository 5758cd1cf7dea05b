import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { constants as osConstants } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { within } from '../../core/async.js';
import { hasCode, messageOf } from '../../core/errors.js';
import { KernelProcessStartError } from './errors.js';

/**
 * The keeper: a small shell that leads the kernel's session, runs the runner as its child and writes down its exit
 * status, so that a daemon that was away learns it later. It outlives the daemon and ends with the runner.
 *
 * It says `ready` on descriptor 3 and starts the runner only when told `go`: until then the daemon can still write
 * down who it is, put it under limits, or let it end by going away. A trapped signal, unlike an ignored one, is not
 * passed on to children: SIGTERM to the group reaches the runner, and the keeper waits for it. Its last act kills
 * what is left of the group.
 */
const KEEPER_SCRIPT = `
exit_file=$1; shift
trap : TERM INT HUP QUIT
umask 022
ulimit -c 0
limit=$(ulimit -H -n)
if [ "$limit" = unlimited ] || [ "$limit" -gt 1048576 ]; then limit=1048576; fi
ulimit -S -n "$limit"
echo 500 > /proc/self/oom_score_adj
echo ready >&3
exec 3>&-
word=
read -r word
[ "$word" = go ] || exit 125
exec < /dev/null
"$@"
status=$?
printf '%s\\n' "$status" > "$exit_file"
trap - TERM INT HUP QUIT
kill -KILL 0
`;

const EXIT_FILE = 'exit-status';
const READY_LIMIT_MS = 30_000;

export interface Keeper {
  readonly pid: number;
  /** Settles once the keeper is gone and reaped; never rejects. */
  readonly exited: Promise<void>;
  /** Starts the runner. */
  go(): void;
  /** Ends a keeper that was not told to go. */
  abandon(): Promise<void>;
}

export interface KeeperCommand {
  readonly shell: string;
  /** Goes in front of the shell, for example `taskset`. */
  readonly prefix: readonly string[];
  readonly runner: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly work: string;
  readonly directory: string;
  /** Takes stdout and stderr. */
  readonly consoleFile: string;
}

/**
 * Starts a keeper that waits for `go`.
 * @throws KernelProcessStartError when it does not come up, CancelledError when the signal aborts. Neither leaves a process.
 */
export async function startKeeper(command: KeeperCommand, signal: AbortSignal): Promise<Keeper> {
  await rm(join(command.directory, EXIT_FILE), { force: true });
  const [program = '', ...args] = [
    ...command.prefix,
    ...[command.shell, '-c', KEEPER_SCRIPT, 'splenium-keeper', join(command.directory, EXIT_FILE)],
    ...command.runner,
  ];
  const log = openSync(command.consoleFile, 'a', 0o600);
  let child: ChildProcess;
  try {
    child = spawn(program, args, {
      cwd: command.work,
      env: command.environment,
      // A session and group of its own: no signal meant for the daemon reaches the kernel.
      detached: true,
      stdio: ['pipe', log, log, 'pipe'],
    });
  } finally {
    closeSync(log);
  }
  // Nothing is awaited before: a program that cannot run is gone at once.
  let failure = '';
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      resolve();
    });
    child.on('error', (error) => {
      failure = messageOf(error);
      if (child.pid === undefined) resolve();
    });
  });
  const { pid } = child;
  if (pid === undefined) {
    await exited;
    throw new KernelProcessStartError(`cannot run ${program}: ${failure}`);
  }
  const input = child.stdio[0] as Writable;
  const ready = child.stdio[3] as Readable;
  // Writing to one that has just died is no news: its exit is.
  input.on('error', () => undefined);
  ready.on('error', () => undefined);
  const abandon = async (): Promise<void> => {
    input.destroy();
    ready.destroy();
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
      child.kill('SIGKILL');
    await exited;
  };
  try {
    const isReady = await within(
      Promise.race([once(ready, 'data').then(() => true), exited.then(() => false)]),
      { timeoutMs: READY_LIMIT_MS, signal, what: `start of ${program}` },
    );
    if (!isReady)
      throw new KernelProcessStartError(
        `cannot run ${program}: it ended with ${child.signalCode ?? `status ${String(child.exitCode)}`}` +
          `; its output is in ${command.consoleFile}`,
      );
  } catch (error) {
    await abandon();
    throw error;
  }
  ready.destroy();
  return {
    pid,
    exited,
    go: () => {
      input.end('go\n');
      // The daemon may end while the kernel runs.
      child.unref();
    },
    abandon,
  };
}

/**
 * The runner's exit status as the keeper wrote it down: negative signal number when killed, null when it could not.
 * A shell shows death by a signal as 128 + signal; no sane program ends with such a status by itself.
 */
export async function readExitStatus(directory: string): Promise<number | null> {
  try {
    const text = await readFile(join(directory, EXIT_FILE), 'utf8');
    if (!/^\d+\n$/.test(text)) return null;
    const status = Number(text);
    return status > 128 && status <= 128 + 64 ? 128 - status : status;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

/** For people: what an exit status means. */
export function describeExit(exitCode: number | null, oomKilled: boolean): string {
  if (oomKilled) return 'killed by the system for lack of memory';
  if (exitCode === null) return 'ended; nobody knows with which status';
  if (exitCode >= 0) return `ended with status ${String(exitCode)}`;
  const name = Object.entries(osConstants.signals).find(([, number]) => number === -exitCode)?.[0];
  return `killed by ${name ?? `signal ${String(-exitCode)}`}`;
}
