import { Command } from 'commander';
import type { CliContext } from './context.js';

/** `splenium start`: the daemon in the foreground. */
export function startCommand(context: CliContext): Command {
  return new Command('start')
    .description('run the daemon in the foreground until SIGTERM or SIGINT')
    .option('-c, --config <file>', 'configuration file; default: searched for like the original does')
    .action(async (options: { readonly config?: string }) => {
      await context.startDaemon({ configPath: options.config });
    });
}
