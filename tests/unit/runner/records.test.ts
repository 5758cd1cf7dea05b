import { RecordReader } from '../../../src/runner/records.js';

const bytes = (text: string) => Buffer.from(text);
const reader = () => new RecordReader(1000);
const textOf = (record: unknown) => (record as { text: string }).text;

test('a character split over messages is put together, per stream', () => {
  const split = bytes('가');
  const subject = reader();
  expect(textOf(subject.read({ type: 'stdout', payload: split.subarray(0, 1) }))).toBe('');
  expect(textOf(subject.read({ type: 'stderr', payload: bytes('x') }))).toBe('x');
  expect(textOf(subject.read({ type: 'stdout', payload: split.subarray(1) }))).toBe('가');
});

test('invalid bytes become U+FFFD, an unfinished character at the end of a step is dropped', () => {
  const subject = reader();
  expect(textOf(subject.read({ type: 'stdout', payload: Buffer.from([0xff, 0x41, 0xea]) }))).toBe('\uFFFDA');
  subject.read({ type: 'finished', payload: bytes('{"exitCode": 0}') });
  expect(textOf(subject.read({ type: 'stdout', payload: bytes('B') }))).toBe('B');
});

test('clean-finished does not end a character', () => {
  const subject = reader();
  subject.read({ type: 'stdout', payload: bytes('가').subarray(0, 2) });
  subject.read({ type: 'clean-finished', payload: bytes('{"exitCode": 0}') });
  expect(textOf(subject.read({ type: 'stdout', payload: bytes('가').subarray(2) }))).toBe('가');
});

test('a longer record is cut by bytes, a byte order mark is kept', () => {
  expect(textOf(reader().read({ type: 'stdout', payload: bytes('x'.repeat(2000)) }))).toHaveLength(1000);
  expect(textOf(reader().read({ type: 'stdout', payload: bytes('\uFEFFx') }))).toBe('\uFEFFx');
});

test.each([
  ['finished', '{"exitCode": 3}', 'finished', 3],
  ['finished', '{}', 'finished', null],
  ['finished', '', 'finished', null],
  ['finished', 'garbage', 'finished', null],
  ['clean-finished', '{"exitCode": 0}', 'clean-finished', 0],
  ['build-finished', '{"exitCode": -9}', 'build-finished', -9],
])('%s with payload %p is %s with exit code %p', (type, payload, status, exitCode) => {
  expect(reader().read({ type, payload: bytes(payload) })).toEqual({
    kind: 'outcome',
    outcome: { status, exitCode, options: null },
  });
});

test.each([
  ['', {}],
  ['{"is_password": true}', { is_password: true }],
  ['[1]', {}],
])('waiting-input with payload %p has options %p', (payload, options) => {
  expect(reader().read({ type: 'waiting-input', payload: bytes(payload) })).toEqual({
    kind: 'outcome',
    outcome: { status: 'waiting-input', exitCode: null, options },
  });
});

test('media that is no JSON is HTML: the original runner sends it so', () => {
  const payload = bytes('{"type": "image/png", "data": "data:"}');
  expect(reader().read({ type: 'media', payload })).toEqual({ kind: 'media', media: ['image/png', 'data:'] });
  expect(reader().read({ type: 'media', payload: bytes('<b>hi</b>') })).toEqual({
    kind: 'html',
    text: '<b>hi</b>',
  });
});

test('bytes that are no UTF-8 do no harm in text types, unknown types mean nothing', () => {
  expect(reader().read({ type: 'html', payload: Buffer.from([0xff]) })).toEqual({
    kind: 'html',
    text: '\uFFFD',
  });
  expect(reader().read({ type: 'no-such-type', payload: bytes('x') })).toBeUndefined();
  expect(reader().read({ type: 'status', payload: bytes('x') })).toBeUndefined();
});
