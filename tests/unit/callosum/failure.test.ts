import { KeyError, TimeoutError } from '../../../src/core/errors.js';
import { createErrorDescriber } from '../../../src/callosum/index.js';

const describeError = createErrorDescriber();

test('an error of ours travels under its Python name and repr', () => {
  expect(describeError(new KeyError('kernel-1'))).toEqual({
    name: 'KeyError',
    repr: "KeyError('kernel-1')",
    traceback: 'Traceback (most recent call last):\nKeyError: kernel-1\n',
  });
});

test.each([
  ['TypeError', new TypeError('x'), 'TypeError'],
  ['RangeError', new RangeError('x'), 'ValueError'],
  ['an aborted operation', Object.assign(new Error('x'), { name: 'AbortError' }), 'CancelledError'],
  ['a time limit of Node', Object.assign(new Error('x'), { name: 'TimeoutError' }), 'TimeoutError'],
  ['a time limit of ours', new TimeoutError('x'), 'TimeoutError'],
  ['any other error', new SyntaxError('x'), 'RuntimeError'],
  ['a thrown text', 'x', 'RuntimeError'],
])('%s is named as Python would', (_what, error, name) => {
  expect(describeError(error)).toMatchObject({ name, repr: `${name}('x')` });
});

test('a traceback holds no frame and no path outside debug mode', () => {
  expect(describeError(new RangeError('x')).traceback).toBe(
    'Traceback (most recent call last):\nValueError: x\n',
  );
});

test('a traceback in debug mode has the frames, innermost last', () => {
  const { traceback } = createErrorDescriber({ debug: true })(new RangeError('x'));
  const lines = traceback.split('\n');
  expect(lines.at(-3)).toContain('failure.test');
  expect(lines.at(-2)).toBe('ValueError: x');
});

test('an error without a message is its name alone', () => {
  expect(describeError(new RangeError('')).traceback).toBe(
    'Traceback (most recent call last):\nValueError\n',
  );
});

test('a message of any length is cut', () => {
  const { repr, traceback } = describeError(new RangeError('x'.repeat(1_000_000)));
  expect(repr.length).toBeLessThan(70_000);
  expect(traceback.length).toBeLessThan(70_000);
});
