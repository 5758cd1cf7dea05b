import { Command } from 'commander';
import { addConnectionOptions, type ConnectionOptions, withClient } from './connection.js';
import type { CliContext } from './context.js';
import { jsonText } from './json-text.js';
import { formatTable } from './table.js';

/** `splenium ps`: the kernels of all agents of a daemon. */
export function psCommand(context: CliContext): Command {
  const command = new Command('ps')
    .description('list the kernels of all agents, or of one')
    .option('-a, --agent <id>', 'of this agent only')
    .option('--json', 'as JSON', false);
  return addConnectionOptions(command).action(
    async (options: ConnectionOptions & { readonly agent?: string; readonly json: boolean }) => {
      await withClient(context, options, options.agent ?? null, async (client) => {
        const kernels = await client.listKernels({ signal: context.signal });
        if (options.json) {
          context.out(jsonText(kernels, 2));
          return;
        }
        const rows = kernels.map((kernel) => [
          kernel.agent_id,
          kernel.kernel_id,
          kernel.state_detail === null ? kernel.state : `${kernel.state} (${kernel.state_detail})`,
          kernel.session_type,
          kernel.image,
          Object.entries(kernel.resource_slots)
            .map(([slot, amount]) => `${slot}=${amount}`)
            .join(' '),
        ]);
        for (const line of formatTable(['AGENT', 'KERNEL', 'STATE', 'TYPE', 'IMAGE', 'RESOURCES'], rows))
          context.out(line);
      });
    },
  );
}
