import { findOrphans } from '../../../src/kernels/orphans.js';

const NOW = 1_700_000_000;

test('a kernel that the manager left out for more than 600 s is an orphan; at the threshold it stays', () => {
  const checks = new Map([
    ['beyond', NOW - 601],
    ['at', NOW - 600],
    ['fresh', NOW],
  ]);
  expect(findOrphans(['beyond', 'at', 'fresh'], NOW, checks)).toEqual(['beyond']);
});

test('nothing is done while the manager has never looked after the agent', () => {
  expect(findOrphans(['one'], null, new Map([['one', 0]]))).toEqual([]);
});

test('nothing is done about a kernel that the manager has never looked after', () => {
  expect(findOrphans(['one'], NOW, new Map())).toEqual([]);
});

test('records of kernels that are not here are of no interest', () => {
  expect(findOrphans([], NOW, new Map([['gone', 0]]))).toEqual([]);
});
