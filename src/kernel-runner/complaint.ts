/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'message' in error && typeof error.message === 'string')
    return error.message;
  return String(error);
}

/** Writes the runner's own words: to its stderr, which is the container log and never the user's console. */
export type Complain = (message: string, facts?: Readonly<Record<string, unknown>>) => void;
