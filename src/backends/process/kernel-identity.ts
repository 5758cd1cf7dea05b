import type { KernelPlan } from '../backend.js';
import { ProcessBackendUnavailableError } from './errors.js';
import type { LaunchTools } from './launch.js';
import { closedAbove } from './socket-directory.js';

/** Null: the same as the daemon's. */
export interface KernelIdentity {
  readonly uid: number | null;
  readonly gid: number | null;
}

/**
 * Whom a kernel runs as. Only root can give it another identity than its own; otherwise the plan's is `ignored`.
 * @throws ProcessBackendUnavailableError when root could, but a tool is missing or a directory is closed to others.
 */
export async function identityFor(
  plan: KernelPlan,
  tools: LaunchTools,
  neededDirectories: readonly string[],
): Promise<KernelIdentity & { readonly ignored: boolean }> {
  const { uid, gid } = plan.identity;
  const own = process.getuid?.();
  if (uid === null || uid === own) return { uid: null, gid: null, ignored: false };
  if (own !== 0) return { uid: null, gid: null, ignored: true };
  const refuse = (why: string) =>
    new ProcessBackendUnavailableError(`kernel ${plan.kernelId} shall run as uid ${String(uid)}, but ${why}`);
  if (tools.setpriv === null) throw refuse('there is no setpriv: install util-linux');
  for (const directory of neededDirectories) {
    const closed = await closedAbove(directory);
    if (closed !== null) throw refuse(`${closed} is closed to other users: open it with chmod o+x`);
  }
  return { uid, gid, ignored: false };
}
