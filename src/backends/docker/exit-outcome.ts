import type { Container, EngineEvent } from './engine-schemas.js';

/** Statuses in which the kernel's processes exist (spec/kernel-lifecycle.md 1.1). */
const ACTIVE = new Set(['running', 'paused', 'restarting']);

/** A first process that is killed for lack of memory ends its container at once; engines may be slow to say so. */
const OOM_BEFORE_END_MS = 10_000;

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
 * one process for lack of memory and end later for another reason, even by somebody's kill, and the engine's mark
 * stays: so where it is known when memory was last lacking (`lastOomMs`, by the engine's clock; null: not known),
 * that must be near the end.
 */
export function outcomeOf({ State }: Container, lastOomMs: number | null = null): Outcome {
  if (State.Status === 'created')
    return { exitCode: null, oomKilled: false, detail: 'created, never started' };
  const exitCode = exitCodeOf(State.ExitCode);
  const isForLackOfMemory =
    lastOomMs === null ? State.OOMKilled : !(Date.parse(State.FinishedAt) - lastOomMs > OOM_BEFORE_END_MS);
  const oomKilled = isForLackOfMemory && exitCode === -9;
  const why = `${reasonOf(exitCode)}${oomKilled ? ', out of memory' : ''}`;
  return { exitCode, oomKilled, detail: State.Error === '' ? why : `${why}: ${State.Error}` };
}

/**
 * How a container ended whose end was asked for, from the engine's event alone. Null: look at it. The event
 * does not know of a lack of memory, so what may have been killed for that is looked at; so is what may be the end of
 * an earlier run, of before `startedAt` (as an inspection gives it; null: unknown).
 */
export function outcomeOfEnd(
  { Action, Actor, timeNano = 0 }: EngineEvent,
  startedAt: string | null,
): Outcome | null {
  const status = Actor.Attributes['exitCode'] ?? '';
  const isLater = timeNano / 1e6 > Date.parse(startedAt ?? '');
  if (Action !== 'die' || !isLater || !/^\d+$/.test(status)) return null;
  const exitCode = exitCodeOf(Number(status));
  return exitCode === -9 ? null : { exitCode, oomKilled: false, detail: reasonOf(exitCode) };
}

const exitCodeOf = (status: number): number => (status > 128 && status <= 128 + 64 ? 128 - status : status);

const reasonOf = (exitCode: number): string =>
  exitCode < 0 ? `killed by signal ${String(-exitCode)}` : `exited with status ${String(exitCode)}`;
