import { Command } from 'commander';
import { addConnectionOptions, type ConnectionOptions, withClient } from './connection.js';
import { CommandFailure, type CliContext } from './context.js';
import { jsonText } from './json-text.js';

/** `splenium doctor`: does the running daemon reach its stores and hold what must hold? */
export function doctorCommand(context: CliContext): Command {
  const command = new Command('doctor')
    .description('check a running daemon: stores answer; nothing allocated is lost, doubled or left over')
    .option('--json', 'as JSON', false);
  return addConnectionOptions(command).action(
    async (options: ConnectionOptions & { readonly json: boolean }) => {
      await withClient(context, options, null, async (client) => {
        const checks = await client.call('examine', {}, { signal: context.signal });
        if (options.json) context.out(jsonText(checks, 2));
        else
          for (const { check, ok, findings, since } of checks) {
            const from = since === null ? '' : ` (since ${since})`;
            context.out(`${ok ? 'ok    ' : 'FAILED'} ${check}${from}`);
            for (const finding of findings) context.out(`       ${finding}`);
          }
        const failed = checks.filter(({ ok }) => !ok).length;
        if (failed > 0) throw new CommandFailure(`${String(failed)} check(s) failed`);
      });
    },
  );
}
