import { Agent } from 'node:http';
import { inspect } from 'node:util';

/**
 * The connections to the engine, one for each call: a kept one would be a dead one after the engine's restart.
 *
 * The client library describes every request for its debug log, whether that is on or not, with all that the agent
 * holds, its sockets and requests included: some 10 ms a call. So the agent describes itself.
 */
export class EngineAgent extends Agent {
  constructor() {
    super({ keepAlive: false });
  }

  [inspect.custom](): string {
    return 'EngineAgent';
  }
}
