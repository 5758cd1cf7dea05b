import { Command } from 'commander';
import { VERSION } from '../core/version.js';
import type { CliContext } from './context.js';

export function versionCommand(context: CliContext): Command {
  return new Command('version')
    .description('print the version of this program and of Node.js')
    .option('--json', 'as one JSON object', false)
    .action((options: { readonly json: boolean }) => {
      if (options.json) context.out(JSON.stringify({ splenium: VERSION, node: process.versions.node }));
      else context.out(`splenium ${VERSION} (Node.js ${process.versions.node})`);
    });
}
