import { join } from 'node:path';
import { z } from 'zod';

/** Where things are in a state directory, and the file by which local programs find the daemon. */
export interface StateLayout {
  readonly root: string;
  /** Held by the daemon that works here. */
  readonly lockFile: string;
  /** Present while the daemon serves: `DaemonEndpoint` as JSON. */
  readonly endpointFile: string;
  /** Ids made up for agents whose configuration gives none. */
  readonly agentIdsFile: string;
  /** Secret key file of the local operator; the daemon accepts its public key beside the managers'. */
  readonly operatorKeyFile: string;
  readonly agentsDirectory: string;
  readonly socketsDirectory: string;
  /** Logs of ended kernels that wait for their store. */
  readonly keptLogsDirectory: string;
}

export function stateLayout(root: string): StateLayout {
  return {
    root,
    lockFile: join(root, 'daemon.lock'),
    endpointFile: join(root, 'endpoint.json'),
    agentIdsFile: join(root, 'agent-ids.json'),
    operatorKeyFile: join(root, 'keys', 'operator.key_secret'),
    agentsDirectory: join(root, 'agents'),
    socketsDirectory: join(root, 'sockets'),
    keptLogsDirectory: join(root, 'container-logs'),
  };
}

/** How to reach the daemon of a state directory. */
export const daemonEndpoint = z.object({
  version: z.literal(1),
  pid: z.int(),
  /** ZeroMQ endpoint of the RPC socket, connectable from this machine. */
  rpcAddress: z.string(),
  /** CURVE key of the RPC socket; null: it takes plain connections. */
  serverPublicKey: z.string().nullable(),
  /** Base URL of the HTTP service; null: there is none. */
  httpUrl: z.string().nullable(),
  /** Path of the debug socket; null: there is none. */
  snapshotSocket: z.string().nullable().default(null),
});

export type DaemonEndpoint = z.output<typeof daemonEndpoint>;
/** What the daemon says of itself. */
export type PublishedEndpoint = Omit<z.input<typeof daemonEndpoint>, 'version' | 'pid'>;
