import { randomUUID } from 'node:crypto';
import { CancelledError } from '../core/errors.js';
import type { AgentClient, ResultOf } from './agent-client.js';
import { InputRequiredError } from './errors.js';

export interface RunRequest {
  readonly kernelId: string;
  readonly sessionId: string;
  /** Code for the kernel's language, or shell commands that run one after another. */
  readonly code: string | BatchCommands;
  /** Answers a question of the code; `isPassword` says not to show what is typed. Absent: a question is an error. */
  readonly onInput?: (question: { readonly isPassword: boolean }) => Promise<string>;
  /** How long one call collects output before it hands it over; default 2 000. */
  readonly flushMs?: number;
  /** Aborting interrupts the code. */
  readonly signal?: AbortSignal;
}

export interface BatchCommands {
  readonly clean?: string;
  readonly build?: string;
  readonly exec?: string;
}

export type RunEvent =
  | { readonly type: 'stdout' | 'stderr' | 'html' | 'log'; readonly text: string }
  | { readonly type: 'media'; readonly mime: string; readonly data: string }
  /** A step of a batch has ended; the next one follows whatever the exit code. */
  | { readonly type: 'step'; readonly step: 'clean' | 'build'; readonly exitCode: number | null }
  /** The last event. `timedOut`: the kernel ran out of its execution time. */
  | { readonly type: 'end'; readonly exitCode: number | null; readonly timedOut: boolean };

type Execution = ResultOf<'execute'>;

/**
 * Runs code to its end (spec/kernel-runner.md 3.7) and yields events as they come. Leaving the loop early, an abort
 * and an error interrupt the code, since a run that nobody continues would hold up every other one.
 * @throws CancelledError, InputRequiredError, and what `call` throws.
 */
export async function* run(
  client: AgentClient,
  request: RunRequest,
): AsyncGenerator<RunEvent, void, undefined> {
  const step = stepper(client, request);
  let ended = false;
  try {
    let next: Feed = typeof request.code === 'string' ? query(request.code) : batch(request.code);
    for (;;) {
      const result = await step(next);
      ended = result.status === 'finished' || result.status === 'exec-timeout';
      yield* outputOf(result);
      if (ended) {
        yield { type: 'end', exitCode: result.exitCode, timedOut: result.status === 'exec-timeout' };
        return;
      }
      next = await feedAfter(result, request);
    }
  } finally {
    if (!ended) await client.interrupt(request.kernelId).catch(() => undefined);
  }
}

interface Feed {
  readonly mode: 'query' | 'batch' | 'input' | 'continue';
  readonly code: string;
  readonly opts: Readonly<Record<string, string | null>>;
}

const CONTINUE: Feed = { mode: 'continue', code: '', opts: {} };
const query = (code: string): Feed => ({ mode: 'query', code, opts: {} });
const batch = ({ clean, build, exec }: BatchCommands): Feed => ({
  mode: 'batch',
  code: '',
  opts: { clean: clean ?? null, build: build ?? null, exec: exec ?? null },
});

/** Two shapes of the same console: api version 3 is what the manager sends for its newest clients. */
const API_VERSION = 3;

function stepper(client: AgentClient, request: RunRequest): (feed: Feed) => Promise<Execution> {
  const runId = randomUUID().replaceAll('-', '');
  const { kernelId, sessionId, flushMs = 2000, signal } = request;
  return async (feed) => {
    if (signal?.aborted === true) throw new CancelledError('the run was cancelled');
    return await client.call(
      'execute',
      {
        session_id: sessionId,
        kernel_id: kernelId,
        api_version: API_VERSION,
        run_id: runId,
        mode: feed.mode,
        code: feed.code,
        opts: feed.opts,
        flush_timeout: flushMs / 1000,
      },
      { timeoutMs: flushMs + 30_000, ...(signal && { signal }) },
    );
  };
}

function* outputOf(result: Execution): Generator<RunEvent, void, undefined> {
  for (const [type, data] of result.console ?? [])
    if (typeof data !== 'string') yield { type: 'media', mime: data[0], data: data[1] };
    else if (type !== 'media' && type !== 'completion') yield { type, text: data };
  if (result.status === 'clean-finished') yield { type: 'step', step: 'clean', exitCode: result.exitCode };
  if (result.status === 'build-finished') yield { type: 'step', step: 'build', exitCode: result.exitCode };
}

async function feedAfter(result: Execution, { onInput, kernelId }: RunRequest): Promise<Feed> {
  if (result.status !== 'waiting-input') return CONTINUE;
  if (!onInput)
    throw new InputRequiredError('the code asks for input: give onInput to answer it', {
      details: { kernelId },
    });
  const answer = await onInput({ isPassword: result.options?.['is_password'] === true });
  return { mode: 'input', code: answer, opts: {} };
}
