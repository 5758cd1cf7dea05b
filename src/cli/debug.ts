import { connect } from 'node:net';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { findLocalDaemon } from '../client/local-daemon.js';
import { loadConfig } from '../config/index.js';
import { messageOf } from '../core/errors.js';
import { CommandFailure, type CliContext } from './context.js';

interface SnapshotOptions {
  readonly config?: string;
  readonly stateDir?: string;
  readonly socket?: string;
}

/** `splenium debug`: what only the daemon's user may see of it. */
export function debugCommand(context: CliContext): Command {
  return new Command('debug').description('look inside a running daemon').addCommand(
    new Command('snapshot')
      .description('kernels and allocations of all agents as JSON, as the original shows them')
      .option('-c, --config <file>', 'configuration file of the local daemon')
      .option('--state-dir <directory>', 'state directory of the local daemon')
      .option('--socket <path>', 'debug socket of any daemon, also one of the original')
      .action(async (options: SnapshotOptions) => {
        const text = await readSocket(await socketPathOf(context, options), context.signal);
        context.out(text.trimEnd());
      }),
  );
}

async function socketPathOf(context: CliContext, options: SnapshotOptions): Promise<string> {
  if (options.socket !== undefined) return resolve(context.cwd, options.socket);
  const stateDirectory =
    options.stateDir === undefined
      ? (
          await loadConfig({
            ...(options.config === undefined ? {} : { path: resolve(context.cwd, options.config) }),
            env: context.env,
            cwd: context.cwd,
            home: context.home,
          })
        ).config.stateDir
      : resolve(context.cwd, options.stateDir);
  const { snapshotSocket } = await findLocalDaemon(stateDirectory);
  if (snapshotSocket === null)
    throw new CommandFailure('the daemon has no debug socket: its log says why, at the start');
  return snapshotSocket;
}

async function readSocket(path: string, signal: AbortSignal): Promise<string> {
  try {
    const socket = connect({ path, signal });
    socket.setEncoding('utf8');
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    return text;
  } catch (error) {
    throw new CommandFailure(
      `${path}: ${messageOf(error)}; only the daemon's own user may read the debug socket`,
    );
  }
}
