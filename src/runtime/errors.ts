import { SpleniumError } from '../core/errors.js';

/** No agent with the asked id runs in this process (spec/rpc-functions.md 1.4). */
export class AgentIdNotFoundError extends SpleniumError {
  static readonly CODE = 'AGENT_ID_NOT_FOUND';
  override readonly code = AgentIdNotFoundError.CODE;
  override readonly pythonName = 'AgentIdNotFoundError';

  constructor(agentId: string, available: readonly string[]) {
    super(`Agent '${agentId}' not found in this runtime. Available agents: ${available.join(', ')}`, {
      details: { agentId, available },
    });
  }

  /** As the 25.17 line prints it, where the class has no HTTP status of its own. */
  override get pythonRepr(): string {
    return `<AgentIdNotFoundError(-1): General Backend API Error. (${this.message})>`;
  }

  /** As the 26.9 line prints it. */
  get pythonReprIn26(): string {
    return `<AgentIdNotFoundError(404): Agent ID not found. (${this.message})>`;
  }
}

/** One or more agents did not start, and the configuration says that all must; or none did. */
export class AgentStartError extends SpleniumError {
  override readonly code = 'AGENT_START_FAILED';
  override readonly pythonName = 'RuntimeError';
}

/** Another daemon that is alive works in this state directory. */
export class StateDirectoryInUseError extends SpleniumError {
  override readonly code = 'STATE_DIRECTORY_IN_USE';
  override readonly pythonName = 'RuntimeError';
}

/** The state directory, or a file in it, cannot be used as it is. */
export class StateDirectoryError extends SpleniumError {
  override readonly code = 'STATE_DIRECTORY_UNUSABLE';
  override readonly pythonName = 'RuntimeError';
}
