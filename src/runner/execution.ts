/** Shapes of code execution (spec/kernel-runner.md 3.3, 3.4): plain data, ready for the wire. */

/** The one run of a batch session; known to both sides by this name. */
export const BATCH_JOB_RUN_ID = 'batch-job';

/** Known modes; any other behaves like `continue`. */
export type ExecutionMode = 'query' | 'batch' | 'input' | 'continue';

export interface ExecutionRequest {
  /** Null makes the link generate one; the result names it. */
  readonly runId: string | null;
  readonly mode: string;
  readonly code: string;
  /** `batch` reads `clean`, `build` and `exec`: a shell command, `*`, or nothing. */
  readonly opts: Readonly<Record<string, unknown>>;
  /** Longest time to collect output for one result; null waits until the state changes. */
  readonly flushTimeoutMs: number | null;
  /** 1 gives split streams, 2 and above a console list. */
  readonly apiVersion: number;
  /** Aborting ends this call only: the run goes on and can be continued. */
  readonly signal?: AbortSignal | undefined;
}

export type ExecutionStatus =
  'continued' | 'waiting-input' | 'clean-finished' | 'build-finished' | 'finished' | 'exec-timeout';

export type ConsoleItem = readonly [
  type: 'stdout' | 'stderr' | 'html' | 'log' | 'media',
  data: string | MediaItem,
];
export type MediaItem = readonly [mime: string, data: string];

interface ExecutionState {
  readonly runId: string;
  readonly status: ExecutionStatus;
  /** Of the three `*-finished` states; null when the runner did not tell. */
  readonly exitCode: number | null;
  /** Of `waiting-input`, for example `{is_password: true}`; `{}` when the runner did not tell. */
  readonly options: Readonly<Record<string, unknown>> | null;
  readonly files: readonly never[];
}

/** From API version 2 on: the order of all output is kept. */
export interface ConsoleResult extends ExecutionState {
  readonly console: readonly ConsoleItem[];
}

/** API version 1: one text per stream. */
export interface SplitResult extends ExecutionState {
  readonly stdout: string;
  readonly stderr: string;
  readonly media: readonly MediaItem[];
  readonly html: readonly string[];
}

export type ExecutionResult = ConsoleResult | SplitResult;

/** How one collected result ends, before it is shaped for an API version. */
export interface Outcome {
  readonly status: ExecutionStatus;
  readonly exitCode: number | null;
  readonly options: Readonly<Record<string, unknown>> | null;
}
