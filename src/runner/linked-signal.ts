export interface LinkedSignal {
  readonly signal: AbortSignal;
  /** Lets go of the sources. */
  release(): void;
}

/**
 * A signal that follows several. `AbortSignal.any` would do, but leaves something behind in a source that lives as
 * long as the link for every call that is made over it.
 */
export function linkSignals(...sources: readonly (AbortSignal | undefined)[]): LinkedSignal {
  const controller = new AbortController();
  const present = sources.filter((source) => source !== undefined);
  const abort = () => {
    controller.abort(present.find((source) => source.aborted)?.reason);
  };
  for (const source of present) source.addEventListener('abort', abort);
  if (present.some((source) => source.aborted)) abort();
  return {
    signal: controller.signal,
    release: () => {
      for (const source of present) source.removeEventListener('abort', abort);
    },
  };
}
