import type { Container } from './engine-schemas.js';

/** Statuses in which the kernel's processes exist (spec/kernel-lifecycle.md 1.1). */
const ACTIVE = new Set(['running', 'paused', 'restarting']);

export interface Outcome {
  readonly exitCode: number | null;
  readonly oomKilled: boolean;
  readonly detail: string;
}

export const isActive = ({ State }: Container): boolean => ACTIVE.has(State.Status);

/** A removed container tells nothing any more. */
export const REMOVED: Outcome = { exitCode: null, oomKilled: false, detail: 'the container was removed' };

/**
 * How a container ended that does not run. What an init process reports as 128 + n was signal n. A kernel may lose
 * one process for lack of memory and end later for another reason.
 */
export function outcomeOf({ State }: Container): Outcome {
  if (State.Status === 'created')
    return { exitCode: null, oomKilled: false, detail: 'created, never started' };
  const exitCode = State.ExitCode > 128 && State.ExitCode <= 128 + 64 ? 128 - State.ExitCode : State.ExitCode;
  const oomKilled = State.OOMKilled && exitCode === -9;
  const why =
    exitCode < 0
      ? `killed by signal ${String(-exitCode)}${oomKilled ? ', out of memory' : ''}`
      : `exited with status ${String(exitCode)}`;
  return { exitCode, oomKilled, detail: State.Error === '' ? why : `${why}: ${State.Error}` };
}
