import { Command, InvalidArgumentError, Option } from 'commander';
import { messageOf } from '../core/errors.js';
import { LEVELS, parseLevel } from '../observe/levels.js';
import type { CliContext } from './context.js';

/** `splenium start`: the daemon in the foreground. */
export function startCommand(context: CliContext): Command {
  return new Command('start')
    .description('run the daemon in the foreground until SIGTERM or SIGINT; SIGHUP reads the file again')
    .option('-c, --config <file>', 'configuration file; default: searched for like the original does')
    .option(
      '--log-level <level>',
      `lowest level that is logged, whatever the file says: ${LEVELS.join(', ')}`,
      readLevel,
    )
    .addOption(
      new Option('--debug', 'the same as --log-level DEBUG; errors show file paths').conflicts('logLevel'),
    )
    .action(
      async (options: { readonly config?: string; readonly logLevel?: string; readonly debug?: true }) => {
        await context.startDaemon({
          configPath: options.config,
          logLevel: options.debug === true ? 'DEBUG' : options.logLevel,
        });
      },
    );
}

function readLevel(text: string): string {
  try {
    return parseLevel(text);
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error));
  }
}
