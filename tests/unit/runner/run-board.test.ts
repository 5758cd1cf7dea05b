import { LimitExceededError } from '../../../src/core/errors.js';
import { silentLogger } from '../../../src/core/logger.js';
import { DEFAULT_LIMITS } from '../../../src/runner/limits.js';
import type { RunRecord } from '../../../src/runner/records.js';
import { RunBoard } from '../../../src/runner/run-board.js';

const finished: RunRecord = {
  kind: 'outcome',
  outcome: { status: 'finished', exitCode: 0, options: null },
};
const out = (text: string): RunRecord => ({ kind: 'text', stream: 'stdout', text });

function makeBoard(limits: Partial<typeof DEFAULT_LIMITS> = {}) {
  const sent: string[] = [];
  const closing = new AbortController();
  const board = new RunBoard({
    limits: { ...DEFAULT_LIMITS, ...limits },
    logger: silentLogger,
    closed: closing.signal,
    send: ({ type, payload }) => sent.push(`${type} ${Buffer.from(payload).toString()}`.trim()),
  });
  const query = (runId: string, code: string) => board.attach({ runId, mode: 'query', code, opts: {} });
  const proceed = (runId: string) => board.attach({ runId, mode: 'continue', code: '', opts: {} });
  return { board, sent, closing, query, proceed };
}

test('nothing is sent before the runner has told what it works on', () => {
  const { board, sent, query } = makeBoard();
  query('a', '1');
  expect(sent).toEqual([]);
  board.settle([]);
  expect(sent).toEqual(['code 1']);
});

test('the next run is sent when the runner has finished the one before, collected or not', async () => {
  const { board, sent, query, proceed } = makeBoard();
  board.settle([]);
  query('a', '1');
  query('b', '2');
  expect(sent).toEqual(['code 1']);
  board.accept(out('from a'));
  board.accept(finished);
  expect(sent).toEqual(['code 1', 'code 2']);
  board.accept(out('from b'));
  const taken = await board.collect(proceed('a'), null, undefined);
  expect(taken).toMatchObject({ records: [out('from a')], outcome: { status: 'finished' } });
});

test('a batch sends three messages and keeps its run through the steps', async () => {
  const { board, sent } = makeBoard();
  board.settle([]);
  const run = board.attach({ runId: 'b', mode: 'batch', code: '', opts: { build: 'make', exec: null } });
  expect(sent).toEqual(['clean', 'build make', 'exec']);
  const step = (status: 'clean-finished' | 'build-finished'): RunRecord => ({
    kind: 'outcome',
    outcome: { status, exitCode: 0, options: null },
  });
  for (const record of [step('clean-finished'), out('x'), step('build-finished'), out('y'), finished])
    board.accept(record);
  expect((await board.collect(run, null, undefined)).outcome.status).toBe('clean-finished');
  expect(await board.collect(run, null, undefined)).toMatchObject({
    records: [out('x')],
    outcome: { status: 'build-finished' },
  });
  expect(await board.collect(run, null, undefined)).toMatchObject({
    records: [out('y')],
    outcome: { status: 'finished' },
  });
});

test('tasks of an earlier link go to whoever continues an unknown run', async () => {
  const { board, sent, query, proceed } = makeBoard();
  board.accept(out('early'));
  board.settle(['build', 'exec']);
  query('mine', '1');
  expect(sent).toEqual([]);
  board.accept(out(' late'));
  board.accept(finished);
  expect(sent).toEqual(['code 1']);
  expect(await board.collect(proceed('old'), null, undefined)).toMatchObject({
    records: [out('early late')],
    outcome: { status: 'finished' },
  });
});

test('from a runner that does not tell, output goes to the call that listens, until another run starts', async () => {
  const { board, sent, query, proceed } = makeBoard();
  board.settle(undefined);
  const listener = proceed('old');
  board.accept(out('heard'));
  expect(await board.collect(listener, 0, undefined)).toMatchObject({
    records: [out('heard')],
    outcome: { status: 'continued' },
  });
  const run = query('new', '1');
  expect(sent).toEqual(['code 1']);
  board.accept(out('new'));
  board.accept(finished);
  expect((await board.collect(run, null, undefined)).records).toEqual([out('new')]);
});

test('two calls of one run collect one after another', async () => {
  const { board, query, proceed } = makeBoard();
  board.settle([]);
  const first = board.collect(query('a', '1'), null, undefined);
  const second = board.collect(proceed('a'), 0, undefined);
  expect(await second).toEqual({
    records: [],
    outcome: { status: 'continued', exitCode: null, options: null },
  });
  board.accept(out('x'));
  board.accept(finished);
  expect((await first).records).toEqual([out('x')]);
});

test('too many waiting runs are refused', () => {
  const { query } = makeBoard({ maxWaitingRuns: 2 });
  query('a', '1');
  query('b', '2');
  expect(() => query('c', '3')).toThrow(LimitExceededError);
});

test('output beyond the bound is dropped where it is missing, an outcome never', async () => {
  const { board, query } = makeBoard({ maxBufferedChars: 1000 });
  board.settle([]);
  const run = query('a', '1');
  board.accept(out('x'.repeat(500)));
  board.accept(out('y'.repeat(5000)));
  board.accept(finished);
  const { records, outcome } = await board.collect(run, null, undefined);
  const text = records.map((record) => ('text' in record ? record.text : '')).join('');
  expect(text).toContain('x'.repeat(500));
  expect(text).not.toContain('y'.repeat(100));
  expect(text).toContain('5000 characters of output were dropped here');
  expect(outcome.status).toBe('finished');
});

test('a large result comes in parts', async () => {
  const { board, query } = makeBoard({ maxResultChars: 100_000 });
  board.settle([]);
  const run = query('a', '1');
  for (let i = 0; i < 4; i += 1) board.accept(out(String(i).repeat(60_000)));
  board.accept(finished);
  const statuses: string[] = [];
  let length = 0;
  while (statuses.at(-1) !== 'finished') {
    const { records, outcome } = await board.collect(run, null, undefined);
    statuses.push(outcome.status);
    for (const record of records) length += 'text' in record ? record.text.length : 0;
  }
  expect(statuses).toEqual(['continued', 'finished']);
  expect(length).toBe(240_000);
});
