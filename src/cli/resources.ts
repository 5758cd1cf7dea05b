import { Command } from 'commander';
import { addConnectionOptions, type ConnectionOptions, withClient } from './connection.js';
import type { CliContext } from './context.js';
import { jsonText } from './json-text.js';
import { formatTable } from './table.js';

/** `splenium resources`: what each agent has, what of it is taken and by whom. */
export function resourcesCommand(context: CliContext): Command {
  const command = new Command('resources')
    .description('show capacity, allocations and devices of each agent')
    .option('-a, --agent <id>', 'of this agent only')
    .option('--json', 'as JSON', false);
  return addConnectionOptions(command).action(
    async (options: ConnectionOptions & { readonly agent?: string; readonly json: boolean }) => {
      await withClient(context, options, options.agent ?? null, async (client) => {
        const agents = await client.call('describe_resources', {}, { signal: context.signal });
        if (options.json) {
          context.out(jsonText(agents, 2));
          return;
        }
        for (const { agent_id, slots, devices, kernels } of agents) {
          context.out(`agent ${agent_id}`);
          const slotRows = Object.entries(slots).map(([slot, usage]) => [
            slot,
            usage.capacity,
            usage.reserved,
            usage.allocated,
            usage.allocated_by_siblings,
            usage.free,
          ]);
          print(formatTable(['SLOT', 'CAPACITY', 'RESERVED', 'ALLOCATED', 'BY SIBLINGS', 'FREE'], slotRows));
          const deviceRows = Object.entries(devices).flatMap(([name, family]) =>
            Object.entries(family).map(([id, device]) => [
              `${name} ${id}`,
              device.model_name,
              device.numa_node === null ? '-' : String(device.numa_node),
              device.capacity,
              device.allocated,
              Object.entries(device.kernels)
                .map(([kernel, amount]) => `${kernel}=${amount}`)
                .join(' '),
            ]),
          );
          print(formatTable(['DEVICE', 'MODEL', 'NUMA', 'CAPACITY', 'ALLOCATED', 'KERNELS'], deviceRows));
          const kernelRows = Object.entries(kernels).map(([kernel, amounts]) => [
            kernel,
            Object.entries(amounts)
              .map(([slot, amount]) => `${slot}=${amount}`)
              .join(' '),
          ]);
          if (kernelRows.length > 0) print(formatTable(['KERNEL', 'ALLOCATED'], kernelRows));
        }
      });
    },
  );

  function print(lines: readonly string[]): void {
    for (const line of lines) context.out(`  ${line}`);
  }
}
