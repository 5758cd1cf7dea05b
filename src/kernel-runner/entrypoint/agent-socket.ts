import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Complain } from '../complaint.js';
import { messageOf } from '../complaint.js';

/** Where programs look for the agent's socket, and the directory in which the backend shows it. */
const SOCKET = '/opt/kernel/agent.sock';
const SHOWN = '/opt/splenium-agent';

/**
 * A link from the usual place: a mount of the socket itself would show the file of today, and after the next start of
 * the daemon there is another one. Made here because it costs the engine a good part of a start to make it.
 */
export function linkAgentSocket(complain: Complain): void {
  if (!existsSync(SHOWN)) return;
  try {
    mkdirSync(dirname(SOCKET), { recursive: true });
    symlinkSync(`${SHOWN}/agent.sock`, SOCKET);
  } catch (error) {
    // The container may have been started before.
    const isThere = error instanceof Object && 'code' in error && error.code === 'EEXIST';
    if (!isThere)
      complain('the socket of the agent has no link at its usual place', { error: messageOf(error) });
  }
}
