import { pino } from 'pino';
import type { Logger as Pino } from 'pino';
import type { Clock } from '../core/clock.js';
import { systemClock } from '../core/clock.js';
import type { LogFields, Logger } from '../core/logger.js';
import { consoleLine } from './console-line.js';
import { isAtLeast, parseLevel } from './levels.js';
import type { Level } from './levels.js';
import { plainFields } from './log-fields.js';

/** Where finished lines go, each with its newline. */
export interface LineSink {
  write(line: string): void;
}

export interface LoggerOptions {
  /** Lowest level that is written, by the original's names in any case. Default `INFO`. */
  readonly level?: string;
  /** `json`: one object a line, for programs. `console`: for people. Default `json`. */
  readonly format?: 'json' | 'console';
  /** Colours of the console format. Default: none. */
  readonly colored?: boolean;
  /** Default: standard output, written at once so that a crash loses no line. */
  readonly sink?: LineSink;
  readonly clock?: Pick<Clock, 'nowMs'>;
}

/** A logger whose level can be changed while the daemon runs; its children follow. */
export interface AdjustableLogger extends Logger {
  readonly level: Level;
  /** @throws ValueError when there is no such level; the level stays as it was. */
  setLevel(level: string): void;
}

type Method = 'debug' | 'info' | 'warn' | 'error';
const LEVEL_OF: Readonly<Record<Method, Level>> = {
  debug: 'DEBUG',
  info: 'INFO',
  warn: 'WARNING',
  error: 'ERROR',
};

/**
 * The daemon's logger. A JSON line holds `time` (ISO 8601, UTC), `level` (the original's name), `message`, then the
 * fields; secret-looking fields are redacted and every field is bounded (see log-fields).
 * @throws ValueError when there is no such level.
 */
export function createLogger(options: LoggerOptions = {}): AdjustableLogger {
  const { level = 'INFO', format = 'json', colored = false, clock = systemClock } = options;
  const sink: LineSink = options.sink ?? pino.destination({ dest: 1, sync: true });
  const destination =
    format === 'json'
      ? sink
      : {
          write: (line: string) => {
            sink.write(consoleLine(line, colored));
          },
        };
  const root = pino(
    {
      base: null,
      level: 'trace',
      messageKey: 'message',
      timestamp: () => `,"time":"${new Date(clock.nowMs()).toISOString()}"`,
      formatters: { level: (label) => ({ level: LEVEL_OF[label as Method] }) },
    },
    destination,
  );
  return new PinoLogger(root, { current: parseLevel(level) });
}

/** One threshold for a logger and all its children, which pino itself would fix when a child is made. */
interface Threshold {
  current: Level;
}

class PinoLogger implements AdjustableLogger {
  readonly #pino: Pino;
  readonly #threshold: Threshold;

  constructor(target: Pino, threshold: Threshold) {
    this.#pino = target;
    this.#threshold = threshold;
  }

  get level(): Level {
    return this.#threshold.current;
  }

  setLevel(level: string): void {
    this.#threshold.current = parseLevel(level);
  }

  debug(message: string, fields?: LogFields): void {
    this.#write('debug', message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#write('info', message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#write('warn', message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#write('error', message, fields);
  }

  child(fields: LogFields): Logger {
    return new PinoLogger(this.#pino.child(plainFields(fields)), this.#threshold);
  }

  enables(level: Method): boolean {
    return isAtLeast(LEVEL_OF[level], this.#threshold.current);
  }

  #write(method: Method, message: string, fields: LogFields = {}): void {
    if (!this.enables(method)) return;
    this.#pino[method](plainFields(fields), message);
  }
}
