import type { CliContext, ExitCode, StartOptions } from '../../src/cli/context.js';
import { runCli } from '../../src/cli/program.js';

export interface CommandResult {
  readonly exitCode: ExitCode;
  /** Lines of the result, joined. */
  readonly out: string;
  /** What a person at the terminal reads besides. */
  readonly err: string;
  /** With what the daemon would have been started. */
  readonly started: readonly StartOptions[];
}

/** Runs one command line in this process, with a context of its own. */
export async function runCommand(
  argv: readonly string[],
  context: Partial<CliContext> = {},
): Promise<CommandResult> {
  const out: string[] = [];
  const err: string[] = [];
  const started: StartOptions[] = [];
  const exitCode = await runCli(argv, {
    env: {},
    cwd: '/',
    home: '/',
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    signal: new AbortController().signal,
    startDaemon: (options) => {
      started.push(options);
      return Promise.resolve();
    },
    ...context,
  });
  return { exitCode, out: out.join('\n'), err: err.join('\n'), started };
}
