import { SpleniumError } from '../core/errors.js';

/** Where a value was written; columns count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** One thing wrong with the configuration. */
export interface ConfigProblem {
  /** Dotted key such as `agent.rpc-listen-addr` or `agents[1].agent.id`; empty for the file as a whole. */
  readonly key: string;
  readonly message: string;
  /** File path, environment variable or `default`: where the value comes from. */
  readonly origin: string;
  readonly position?: Position;
  /** What would be right, such as `an integer from 1 to 32`. */
  readonly expected?: string;
  readonly hint?: string;
}

/** Something that works but is probably not meant. */
export type ConfigWarning = ConfigProblem;

/** The configuration cannot be used; carries every problem that was found, not only the first. */
export class ConfigError extends SpleniumError {
  override readonly code = 'CONFIG_INVALID';
  override readonly pythonName = 'ConfigurationError';
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super(formatProblems(problems));
    this.problems = problems;
  }
}

/** One line a problem: `file:line:column: key: message (hint)`. */
export function formatProblems(problems: readonly ConfigProblem[]): string {
  return problems
    .map(({ key, message, origin, position, hint }) => {
      const place = position ? `${origin}:${String(position.line)}:${String(position.column)}` : origin;
      return (
        [place, key, message].filter((part) => part !== '').join(': ') +
        (hint === undefined ? '' : ` (${hint})`)
      );
    })
    .join('\n');
}
