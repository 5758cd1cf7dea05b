import { resolve } from 'node:path';
import type { Command } from 'commander';
import { readPublicKeyFile, readSecretKeyFile } from '../callosum/transport/certificates.js';
import { AgentClient } from '../client/agent-client.js';
import type { ConnectionTarget } from '../client/connection-pool.js';
import { findLocalDaemon } from '../client/local-daemon.js';
import { loadConfig } from '../config/index.js';
import { CommandFailure, EXIT, type CliContext } from './context.js';

export interface ConnectionOptions {
  readonly config?: string;
  readonly stateDir?: string;
  readonly address?: string;
  readonly serverKey?: string;
  readonly clientKey?: string;
}

/** The options by which a command finds a daemon. */
export function addConnectionOptions(command: Command): Command {
  return command
    .option('-c, --config <file>', 'configuration file of the local daemon')
    .option('--state-dir <directory>', 'state directory of the local daemon')
    .option('--address <endpoint>', 'ZeroMQ endpoint of any daemon, for example tcp://10.0.0.5:6001')
    .option('--server-key <file>', 'public key file of that daemon')
    .option('--client-key <file>', 'secret key file to be known by; needed with --server-key');
}

/** A client that the work closes over; the connection ends with it. */
export async function withClient<T>(
  context: CliContext,
  options: ConnectionOptions,
  agentId: string | null,
  work: (client: AgentClient) => Promise<T>,
): Promise<T> {
  const client = new AgentClient({ ...(await targetOf(context, options)), agentId });
  try {
    return await work(client);
  } finally {
    await client.close();
  }
}

async function targetOf(context: CliContext, options: ConnectionOptions): Promise<ConnectionTarget> {
  const { address, serverKey, clientKey } = options;
  if (address !== undefined) {
    if (serverKey === undefined && clientKey === undefined) return { address };
    if (serverKey === undefined || clientKey === undefined)
      throw new CommandFailure('--server-key and --client-key belong together', EXIT.usage);
    const pair = await readSecretKeyFile(resolve(context.cwd, clientKey));
    return {
      address,
      curve: { ...pair, serverPublicKey: await readPublicKeyFile(resolve(context.cwd, serverKey)) },
    };
  }
  if (options.stateDir !== undefined)
    return (await findLocalDaemon(resolve(context.cwd, options.stateDir))).target;
  const { config } = await loadConfig({
    ...(options.config === undefined ? {} : { path: resolve(context.cwd, options.config) }),
    env: context.env,
    cwd: context.cwd,
    home: context.home,
  });
  return (await findLocalDaemon(config.stateDir)).target;
}
