import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pack } from 'tar-stream';
import type { AgentId } from '../../core/ids.js';
import type { KernelPlan, PlannedMount } from '../backend.js';

/** Where programs look for the agent's socket (spec/kernel-lifecycle.md 2.9). */
const SOCKET = 'opt/kernel/agent.sock';
/** Not below `/opt/kernel`, where the operator's mounts may be. */
const SOCKET_HOME = '/opt/splenium-agent';

/**
 * The directory with the agent's socket, read-only: connecting needs no more, and root in one kernel must not take the
 * socket away from the others. Null when there is none.
 */
export async function agentSocketMount(
  sockets: string | undefined,
  agentId: AgentId,
): Promise<PlannedMount | null> {
  if (sockets === undefined) return null;
  const source = join(sockets, `agent.${agentId}`);
  const isThere = await stat(source).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  return isThere ? { source, target: SOCKET_HOME, permission: 'ro' } : null;
}

/**
 * An archive with a link to the socket, under its usual name. A mount of the socket itself would show the file of
 * today: after the next start of the daemon there is another one.
 */
export function agentSocketLink(): NodeJS.ReadableStream {
  const archive = pack();
  archive.entry({ name: SOCKET, type: 'symlink', linkname: `${SOCKET_HOME}/agent.sock`, mode: 0o777 });
  archive.finalize();
  return Readable.from(archive);
}

export const withMount = (plan: KernelPlan, mount: PlannedMount | null): KernelPlan =>
  mount === null ? plan : { ...plan, mounts: [...plan.mounts, mount] };
