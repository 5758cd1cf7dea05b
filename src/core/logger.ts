/** Fields of one log line; ids such as `agentId`, `kernelId`, `peer`, `method`, `ms` keep these names everywhere. */
export type LogFields = Readonly<Record<string, unknown>>;

/** What every part logs through. The message text is constant, so that it can be searched; facts go into fields. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds these fields to every line. */
  child(fields: LogFields): Logger;
  /** False where lines of this level are dropped, so that nobody collects facts for them. Absent: they are not. */
  enables?(level: 'debug'): boolean;
}

/** Discards everything; for the library's users who want silence, and for tests. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
  enables: () => false,
};
