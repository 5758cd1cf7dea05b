import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { readSecretKeyFile } from '../callosum/index.js';
import { hasCode, messageOf } from '../core/errors.js';
import { daemonEndpoint, stateLayout } from '../runtime/state-layout.js';
import type { DaemonEndpoint } from '../runtime/state-layout.js';
import type { ConnectionTarget } from './connection-pool.js';
import { LocalDaemonNotFoundError } from './errors.js';

/** How to talk to a daemon of this machine as its operator. */
export interface LocalDaemon {
  readonly target: ConnectionTarget;
  readonly pid: number;
  /** Base URL of its HTTP service; null: it has none. */
  readonly httpUrl: string | null;
  /** Path of its debug socket; null: it has none. */
  readonly snapshotSocket: string | null;
}

/**
 * Finds the daemon that works in a state directory. Only the user it runs as may read what is needed.
 * @throws LocalDaemonNotFoundError when none serves there or this user may not look; KeyFileError for a bad operator
 * key.
 */
export async function findLocalDaemon(stateDirectory: string): Promise<LocalDaemon> {
  const layout = stateLayout(resolve(stateDirectory));
  const endpoint = await readEndpoint(layout.endpointFile, layout.root);
  if (!isAlive(endpoint.pid))
    throw new LocalDaemonNotFoundError(
      `the daemon of ${layout.root} (process ${String(endpoint.pid)}) is gone without a goodbye: start it again`,
      { details: { pid: endpoint.pid } },
    );
  const { rpcAddress: address, serverPublicKey, pid, httpUrl, snapshotSocket } = endpoint;
  if (serverPublicKey === null) return { target: { address }, pid, httpUrl, snapshotSocket };
  const operator = await readSecretKeyFile(layout.operatorKeyFile);
  return { target: { address, curve: { ...operator, serverPublicKey } }, pid, httpUrl, snapshotSocket };
}

async function readEndpoint(file: string, root: string): Promise<DaemonEndpoint> {
  try {
    return daemonEndpoint.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    const why = hasCode(error, 'ENOENT')
      ? 'no daemon serves from it; start one, or name the state directory of the one that runs'
      : hasCode(error, 'EACCES')
        ? 'it belongs to another user; run this as the user of the daemon'
        : `${file} cannot be used: ${messageOf(error)}`;
    throw new LocalDaemonNotFoundError(`state directory ${root}: ${why}`, {
      cause: error,
      details: { stateDirectory: root },
    });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return hasCode(error, 'EPERM');
  }
}
