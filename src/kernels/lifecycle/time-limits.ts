/** Time that ending a kernel may take before it counts as failed and is tried again (spec/kernel-lifecycle.md 10). */
export const TIME_LIMITS = {
  /** Beyond the grace time that the backend gives the container. */
  stopExtraMs: 30_000,
  removeMs: 90_000,
  disconnectMs: 10_000,
  inspectMs: 10_000,
  /** The runner of a kernel that is taken over without a record must answer by then; nothing else starts meanwhile. */
  adoptionMs: 20_000,
  /** For reading the log of an ended kernel and handing it over. */
  logsMs: 60_000,
  /** A restart waits this long for the old container to go. */
  restartStopMs: 60_000,
  /** Pauses between attempts to end a kernel that could not be ended: doubling from the first to the last. */
  retryFirstMs: 1_000,
  retryLastMs: 60_000,
  /** Repeats of a creation that a destroy request broke off are refused for this long. */
  repeatRefusalMs: 30_000,
} as const;
