import type { LogFields, Logger } from '../core/logger.js';

/**
 * Logs what strangers and broken peers do wrong, without letting them fill the disk: of every kind the first,
 * second, fourth, eighth, ... time, with the count so far. The metrics count every one.
 */
export class FaultLog {
  readonly #logger: Logger;
  readonly #counts = new Map<string, number>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** `message` and `reason` are from a fixed set, so that the table stays small. */
  warn(message: string, reason: string, fields: LogFields = {}): void {
    const kind = `${message}: ${reason}`;
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    if (Number.isInteger(Math.log2(count))) this.#logger.warn(message, { ...fields, reason, count });
  }
}
