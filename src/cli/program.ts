import { Command, type CommanderError } from 'commander';
import { isSpleniumError, messageOf } from '../core/errors.js';
import { callCommand } from './call.js';
import { configCommand } from './config.js';
import { EXIT, isCommandFailure, type CliContext, type ExitCode } from './context.js';
import { debugCommand } from './debug.js';
import { doctorCommand } from './doctor.js';
import { kernelCommand } from './kernel.js';
import { keysCommand } from './keys.js';
import { psCommand } from './ps.js';
import { resourcesCommand } from './resources.js';
import { startCommand } from './start.js';
import { versionCommand } from './version.js';

/** Runs one command line, without the program's name. Never throws; prints what went wrong. */
export async function runCli(argv: readonly string[], context: CliContext): Promise<ExitCode> {
  const program = buildProgram(context);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    return exitCodeOf(error, context);
  }
}

export function buildProgram(context: CliContext): Command {
  const program = new Command('splenium')
    .description('A node daemon that hosts Backend.AI agents, and the tools to operate it.')
    .addCommand(startCommand(context))
    .addCommand(callCommand(context))
    .addCommand(psCommand(context))
    .addCommand(kernelCommand(context))
    .addCommand(resourcesCommand(context))
    .addCommand(doctorCommand(context))
    .addCommand(debugCommand(context))
    .addCommand(keysCommand(context))
    .addCommand(configCommand(context))
    .addCommand(versionCommand(context));
  applyToAll(program, (command) => {
    command.exitOverride();
    command.configureOutput({
      writeOut: (text) => {
        context.out(text.replace(/\n$/, ''));
      },
      writeErr: (text) => {
        context.err(text.replace(/\n$/, ''));
      },
    });
  });
  return program;
}

function applyToAll(command: Command, change: (command: Command) => void): void {
  change(command);
  for (const child of command.commands) applyToAll(child, change);
}

function exitCodeOf(error: unknown, context: CliContext): ExitCode {
  // Commander has printed its own complaint already; asking for help is no failure.
  if (isCommanderError(error)) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (isCommandFailure(error)) {
    if (error.message !== '') context.err(error.message);
    return error.exitCode;
  }
  if (isSpleniumError(error, 'CONFIG_INVALID')) {
    context.err(error.message);
    return EXIT.config;
  }
  const code = isSpleniumError(error) ? `${error.code}: ` : '';
  context.err(`${code}${messageOf(error)}`);
  return EXIT.failure;
}

function isCommanderError(error: unknown): error is CommanderError {
  return (
    typeof error === 'object' &&
    error !== null &&
    'code' in error &&
    String(error.code).startsWith('commander.')
  );
}
