import { jsonPayload, RESPONSE } from '../messages.js';
import type { Outgoing } from '../outgoing.js';

/** Services of a kernel: what may be started, what runs. */
export class ServiceBoard {
  readonly #outgoing: Outgoing;

  constructor(outgoing: Outgoing) {
    this.#outgoing = outgoing;
  }

  start(request: Readonly<Record<string, unknown>>): void {
    const failed = { status: 'failed', error: `unsupported service: ${String(request['name'])}` };
    this.#outgoing.post(RESPONSE.serviceResult, jsonPayload(failed));
  }

  startModel(_model: Readonly<Record<string, unknown>>): void {
    const failed = { status: 'failed', error: 'service failed to start' };
    this.#outgoing.post(RESPONSE.modelServiceResult, jsonPayload(failed));
  }

  shutdown(_name: string): void {
    // Nothing runs yet.
  }

  apps(_name: string): readonly unknown[] {
    return [];
  }
}
