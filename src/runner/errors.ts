import { SpleniumError } from '../core/errors.js';

/** The link is closed: its kernel is gone, or the agent is stopping. Everything that waits on it ends with this. */
export class RunnerClosedError extends SpleniumError {
  override readonly code = 'RUNNER_CLOSED';
  override readonly pythonName = 'RuntimeError';

  constructor(kernelId: string) {
    super(
      `The connection to the runner of kernel ${kernelId} is closed (the kernel might be terminated--try it again)`,
      { details: { kernelId } },
    );
  }
}
