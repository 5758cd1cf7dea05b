import { SpleniumError } from '../core/errors.js';

/** The agent socket cannot be opened: the message names the path or port and the key to change. */
export class AgentSocketError extends SpleniumError {
  override readonly code = 'AGENT_SOCKET_FAILED';
  override readonly pythonName = 'RuntimeError';
}
