import { Command } from 'commander';
import { isMethodName, METHOD_NAMES } from '../client/methods.js';
import { addConnectionOptions, type ConnectionOptions, withClient } from './connection.js';
import { CommandFailure, EXIT, type CliContext } from './context.js';
import { jsonText } from './json-text.js';

interface CallOptions extends ConnectionOptions {
  readonly agent?: string;
  readonly json: boolean;
  readonly timeout?: string;
}

/** `splenium call METHOD [name=value …]`: any function of the method table. */
export function callCommand(context: CliContext): Command {
  const command = new Command('call')
    .description('call a function of a daemon and print its result')
    .argument('<method>', 'a function of the method table, for example ping')
    .argument('[arguments...]', 'name=value; a value that is JSON is taken as such, anything else as text')
    .option('-a, --agent <id>', 'the agent it is for; default: the default agent')
    .option('--json', 'the result as JSON on one line', false)
    .option('--timeout <seconds>', 'give up, and cancel the call, after this time')
    .addHelpText('after', () => `\nFunctions: ${METHOD_NAMES.join(', ')}`);
  return addConnectionOptions(command).action(
    async (method: string, given: readonly string[], options: CallOptions) => {
      if (!isMethodName(method))
        throw new CommandFailure(`no function '${method}'; see splenium call --help`, EXIT.usage);
      const args = Object.fromEntries(given.map(parseArgument));
      const timeoutMs = parseTimeout(options.timeout);
      await withClient(context, options, options.agent ?? null, async (client) => {
        // Arguments of a command line have no static type; the table's schemas check them on the other side.
        const result: unknown = await client.callByName(method, args, {
          signal: context.signal,
          ...(timeoutMs === undefined ? {} : { timeoutMs }),
        });
        context.out(
          typeof result === 'string' && !options.json ? result : jsonText(result, options.json ? 0 : 2),
        );
      });
    },
  );
}

function parseArgument(text: string): [name: string, value: unknown] {
  const split = text.indexOf('=');
  if (split <= 0) throw new CommandFailure(`not name=value: '${text}'`, EXIT.usage);
  const value = text.slice(split + 1);
  try {
    return [text.slice(0, split), JSON.parse(value) as unknown];
  } catch {
    return [text.slice(0, split), value];
  }
}

function parseTimeout(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = Number(text);
  if (!(seconds > 0)) throw new CommandFailure(`--timeout: not a number of seconds: '${text}'`, EXIT.usage);
  return seconds * 1000;
}
