import { aggregate, makeResult } from '../../../src/runner/console.js';
import type { OutputRecord } from '../../../src/runner/records.js';

const out = (text: string): OutputRecord => ({ kind: 'text', stream: 'stdout', text });
const err = (text: string): OutputRecord => ({ kind: 'text', stream: 'stderr', text });
const media: OutputRecord = { kind: 'media', media: ['image/png', 'data:'] };
const finished = { status: 'finished', exitCode: 0, options: null } as const;

test('neighbours of one stream merge, the order of all kinds is kept', () => {
  const records = [
    out('a'),
    out('b'),
    err('c'),
    out('d'),
    media,
    out('e'),
    { kind: 'html', text: '<p>' } as const,
  ];
  expect(aggregate(records)).toEqual([
    ['stdout', 'ab'],
    ['stderr', 'c'],
    ['stdout', 'd'],
    ['media', ['image/png', 'data:']],
    ['stdout', 'e'],
    ['html', '<p>'],
  ]);
});

test('empty texts produce no item and part nothing', () => {
  expect(aggregate([out(''), out('a'), err(''), out('b')])).toEqual([['stdout', 'ab']]);
  expect(aggregate([])).toEqual([]);
});

test.each([2, 3, 4, 9])('version %i has a console', (version) => {
  expect(makeResult('r', version, [out('a')], finished)).toEqual({
    runId: 'r',
    status: 'finished',
    exitCode: 0,
    options: null,
    files: [],
    console: [['stdout', 'a']],
  });
});

test('version 1 splits the streams and leaves out logs', () => {
  const records = [out('a'), err('b'), out('c'), media, { kind: 'log', text: 'l' } as const];
  expect(makeResult('r', 1, records, finished)).toEqual({
    runId: 'r',
    status: 'finished',
    exitCode: 0,
    options: null,
    files: [],
    stdout: 'ac',
    stderr: 'b',
    media: [['image/png', 'data:']],
    html: [],
  });
});
