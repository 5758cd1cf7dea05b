import type { ConsoleItem, ConsoleResult, ExecutionResult, Outcome, SplitResult } from './execution.js';
import type { OutputRecord } from './records.js';

/** Shapes one result for the caller's API version (spec/kernel-runner.md 3.4). */
export function makeResult(
  runId: string,
  apiVersion: number,
  records: readonly OutputRecord[],
  outcome: Outcome,
): ExecutionResult {
  const { status, exitCode, options } = outcome;
  const state = { runId, status, exitCode, options, files: [] };
  return apiVersion >= 2
    ? ({ ...state, console: aggregate(records) } satisfies ConsoleResult)
    : ({ ...state, ...split(records) } satisfies SplitResult);
}

/** Neighbours of the same stream become one item; text without characters becomes none. */
export function aggregate(records: readonly OutputRecord[]): ConsoleItem[] {
  const items: ConsoleItem[] = [];
  let open: { readonly stream: 'stdout' | 'stderr'; readonly parts: string[] } | undefined;
  const flush = () => {
    if (open) items.push([open.stream, open.parts.join('')]);
    open = undefined;
  };
  for (const record of records) {
    if (record.kind === 'text') {
      if (record.text === '') continue;
      if (open?.stream !== record.stream) {
        flush();
        open = { stream: record.stream, parts: [] };
      }
      open.parts.push(record.text);
      continue;
    }
    flush();
    items.push(record.kind === 'media' ? ['media', record.media] : [record.kind, record.text]);
  }
  flush();
  return items;
}

function split(records: readonly OutputRecord[]): Pick<SplitResult, 'stdout' | 'stderr' | 'media' | 'html'> {
  const texts = (stream: 'stdout' | 'stderr') =>
    records
      .flatMap((record) => (record.kind === 'text' && record.stream === stream ? [record.text] : []))
      .join('');
  return {
    stdout: texts('stdout'),
    stderr: texts('stderr'),
    media: records.flatMap((record) => (record.kind === 'media' ? [record.media] : [])),
    html: records.flatMap((record) => (record.kind === 'html' ? [record.text] : [])),
  };
}
