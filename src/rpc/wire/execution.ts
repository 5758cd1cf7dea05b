import { z } from 'zod';
import type { Agent } from '../../agent/agent.js';
import { anything, int, mapOf, text } from './scalars.js';

type ExecutionResult = Awaited<ReturnType<Agent['execute']>>;

/** `[type, data]`: text, or `[mime, data]` for media. */
const consoleItem = z.tuple([
  z.enum(['stdout', 'stderr', 'media', 'html', 'log', 'completion']),
  z.union([text, z.tuple([text, text])]),
]);

/** The result dict of spec/kernel-runner.md 3.4: `console` from api version 2 on, else the four split streams. */
export const executionResult = z
  .object({
    runId: text.nullable(),
    status: text,
    exitCode: int.nullable(),
    options: mapOf(anything).nullable(),
    files: z.array(anything),
    console: z.array(consoleItem).optional(),
    stdout: text.optional(),
    stderr: text.optional(),
    media: z.array(z.tuple([text, text])).optional(),
    html: z.array(text).optional(),
  })
  .describe('ExecutionResult');

export function executionResultToWire(result: ExecutionResult): z.input<typeof executionResult> {
  const { runId, status, exitCode, options } = result;
  const state = { runId, status, exitCode, options, files: [] };
  if ('console' in result)
    return {
      ...state,
      console: result.console.map(([type, data]) => [type, typeof data === 'string' ? data : pairOf(data)]),
    };
  const { stdout, stderr, media, html } = result;
  return { ...state, stdout, stderr, media: media.map(pairOf), html: [...html] };
}

const pairOf = ([first, second]: readonly [string, string]): [string, string] => [first, second];
