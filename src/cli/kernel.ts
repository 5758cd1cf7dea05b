import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { messageOf } from '../core/errors.js';
import { addConnectionOptions, type ConnectionOptions, withClient } from './connection.js';
import { CommandFailure, EXIT, type CliContext } from './context.js';
import { jsonText } from './json-text.js';

interface CreateOptions extends ConnectionOptions {
  readonly agent?: string;
  readonly dryRun: boolean;
  readonly showSecrets: boolean;
}

/** `splenium kernel create REQUEST.json`: a creation request from a file, or what would come of it. */
export function kernelCommand(context: CliContext): Command {
  const create = new Command('create')
    .description('create the kernels of a request, or show what the backend would be asked for')
    .argument('<request>', 'JSON file with the arguments of create_kernels by their names')
    .option('-a, --agent <id>', 'the agent it is for; default: the default agent')
    .option('--dry-run', 'make nothing; print what the backend would be asked for', false)
    .option('--show-secrets', 'with --dry-run: also the values of the request’s variables', false)
    .action(async (file: string, options: CreateOptions) => {
      if (options.showSecrets && !options.dryRun)
        throw new CommandFailure('--show-secrets belongs to --dry-run', EXIT.usage);
      const request = await readRequest(resolve(context.cwd, file));
      const [method, args] = options.dryRun
        ? ['plan_kernel', { ...request, show_secrets: options.showSecrets }]
        : ['create_kernels', request];
      await withClient(context, options, options.agent ?? null, async (client) => {
        // The table's schemas check the arguments on the other side.
        context.out(jsonText(await client.callByName(method, args, { signal: context.signal }), 2));
      });
    });
  return new Command('kernel').description('work with one kernel').addCommand(addConnectionOptions(create));
}

/** @throws CommandFailure naming the file. */
async function readRequest(path: string): Promise<Readonly<Record<string, unknown>>> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new CommandFailure(`${path}: ${messageOf(error)}`, EXIT.usage);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new CommandFailure(`${path}: not a JSON object with the arguments of create_kernels`, EXIT.usage);
  return Object.fromEntries(Object.entries(value));
}
