import { compileDeadlines } from '../../../src/callosum/deadlines.js';

test('a method has its own limit, the default, or none', () => {
  const deadlineOf = compileDeadlines({ defaultMs: 1000, methods: { execute: 5, wait: 0 } });
  expect(['execute', 'wait', 'ping', 'constructor'].map(deadlineOf)).toEqual([5, undefined, 1000, 1000]);
  expect(compileDeadlines({})('ping')).toBeUndefined();
});

test.each([-1, 0.5, NaN, Infinity, 2 ** 31])('%p is no deadline', (ms) => {
  expect(() => compileDeadlines({ methods: { execute: ms } })).toThrow(/deadline of execute/);
  expect(() => compileDeadlines({ defaultMs: ms })).toThrow(/deadline of the default/);
});
