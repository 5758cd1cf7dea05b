import type { ConfigProblem, DaemonConfig } from '../config/index.js';

/** What a command may touch, so that tests can run commands without a process of their own. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly home: string;
  /** One line of the command's result. */
  out(line: string): void;
  /** One line for the person at the terminal. */
  err(line: string): void;
  /** Aborts on SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
  /** Runs the daemon in this process until the signal; `cli` itself knows no daemon. */
  startDaemon(options: StartOptions): Promise<void>;
  /** What is wrong with the tables of `[splenium.devices]`; `cli` itself knows no devices. Absent: they pass. */
  readonly checkDevices?: (config: DaemonConfig) => readonly ConfigProblem[];
}

export interface StartOptions {
  readonly configPath: string | undefined;
  /** One of the original's level names, upper case; wins over the file's. */
  readonly logLevel: string | undefined;
}

/** 2 is usage; 78 is EX_CONFIG of sysexits. */
export const EXIT = { ok: 0, failure: 1, usage: 2, config: 78 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends a command with this code; the reason has been printed, or is the message. */
export class CommandFailure extends Error {
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode = EXIT.failure) {
    super(message);
    this.name = 'CommandFailure';
    this.exitCode = exitCode;
  }
}

export function isCommandFailure(error: unknown): error is CommandFailure {
  return typeof error === 'object' && error !== null && 'name' in error && error.name === 'CommandFailure';
}
