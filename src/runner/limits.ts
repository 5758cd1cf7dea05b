/** Bounds of one link. Everything the runner or a client can make grow has one. */
export interface RunnerLinkLimits {
  /** A longer `stdout` or `stderr` message is cut, by bytes (spec/kernel-runner.md 3.2). */
  readonly maxRecordBytes: number;
  /** A result with more console text ends early with `continued`; the rest comes with the next call. */
  readonly maxResultChars: number;
  /** Console text kept for all runs until somebody collects it. Beyond it output is dropped, and the console says so. */
  readonly maxBufferedChars: number;
  /** Runs that wait for their turn. */
  readonly maxWaitingRuns: number;
  /** Runs that have ended but were not collected; the oldest is forgotten first. */
  readonly maxUncollectedRuns: number;
  /** Text of one request to the runner. */
  readonly maxRequestBytes: number;
  /** Requests that ZeroMQ has not taken yet. */
  readonly maxQueuedRequests: number;
  /** Unanswered requests per kind of reply. */
  readonly maxPendingReplies: number;
  /** Largest message from the runner; libzmq cuts the connection of a runner that sends more. */
  readonly maxMessageBytes: number;
  /** How long to wait for a completion, a status or the list of apps. */
  readonly replyTimeoutMs: number;
  /** How long to wait until a service has started: longer than the runner waits for its port (9.4 L13). */
  readonly serviceTimeoutMs: number;
}

export const DEFAULT_LIMITS: RunnerLinkLimits = {
  maxRecordBytes: 10 << 20,
  maxResultChars: 10 << 20,
  maxBufferedChars: 32 << 20,
  maxWaitingRuns: 64,
  maxUncollectedRuns: 32,
  maxRequestBytes: 16 << 20,
  maxQueuedRequests: 1000,
  maxPendingReplies: 128,
  maxMessageBytes: 64 << 20,
  replyTimeoutMs: 10_000,
  serviceTimeoutMs: 35_000,
};
