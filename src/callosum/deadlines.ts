import { ValueError } from '../core/errors.js';

/**
 * How long the serving side lets a call take, from its arrival to its answer. A call that runs longer has its signal
 * aborted and is answered with a FAILURE named `TimeoutError` (spec/wire-protocol.md 6.3).
 */
export interface Deadlines {
  /** For methods without one of their own, in milliseconds; absent: no limit. */
  readonly defaultMs?: number;
  /** By method, in milliseconds; 0: no limit, whatever the default. */
  readonly methods?: Readonly<Record<string, number>>;
}

/** The longest delay a timer of Node takes; a longer one would fire at once. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * The limit of a method, undefined for none.
 * @throws ValueError for a limit that is no delay, naming its method.
 */
export function compileDeadlines(deadlines: Deadlines): (method: string) => number | undefined {
  const byMethod = new Map(
    Object.entries(deadlines.methods ?? {}).map(([method, ms]) => [method, checked(method, ms)] as const),
  );
  const defaultMs = checked('the default', deadlines.defaultMs ?? 0);
  return (method) => {
    const ms = byMethod.get(method) ?? defaultMs;
    return ms === 0 ? undefined : ms;
  };
}

function checked(what: string, ms: number): number {
  if (!Number.isInteger(ms) || ms < 0 || ms > LONGEST_MS)
    throw new ValueError(
      `deadline of ${what}: ${String(ms)} is not a whole number of milliseconds up to ${String(LONGEST_MS)}`,
    );
  return ms;
}
