import { Uuid } from '../../../src/codec/index.js';
import { readRequestBody } from '../../../src/rpc/request-body.js';

const NO_METADATA = { requestId: null, traceparent: null };

test('a nil body is a call without arguments', () => {
  expect(readRequestBody(null)).toEqual({ args: [], kwargs: new Map(), metadata: NO_METADATA });
});

test('args and kwargs are taken as they are', () => {
  expect(readRequestBody({ args: [1, [2]], kwargs: { agent_id: null } })).toEqual({
    args: [1, [2]],
    kwargs: new Map([['agent_id', null]]),
    metadata: NO_METADATA,
  });
});

test('a key named __proto__ is a keyword like any other', () => {
  const kwargs = Object.create(null) as Record<string, unknown>;
  kwargs['__proto__'] = 1;
  expect([...readRequestBody({ args: [], kwargs }).kwargs]).toEqual([['__proto__', 1]]);
});

test('metadata of a 26.x caller is read, its unknown parts ignored', () => {
  const metadata = { request_id: 'r-1', user: { id: 1 }, triggered_user: null, traceparent: '00-ab-cd-01' };
  const { metadata: read } = readRequestBody({
    args: [],
    kwargs: {},
    metadata,
    other: new Uuid('0'.repeat(32)),
  });
  expect(read).toEqual({ requestId: 'r-1', traceparent: '00-ab-cd-01' });
});

test.each([null, 7, [], 'x', new Map(), { request_id: 5, traceparent: {} }])(
  'metadata %p is malformed and fails nothing',
  (metadata) => {
    expect(readRequestBody({ args: [], kwargs: {}, metadata }).metadata).toEqual(NO_METADATA);
  },
);

test.each([
  [{ kwargs: {} }, 'args'],
  [{ args: [] }, 'kwargs'],
  [{}, 'args'],
])('%j lacks a key: KeyError with it', (body, key) => {
  expect(() => readRequestBody(body)).toThrow(
    expect.objectContaining({ pythonName: 'KeyError', message: key, pythonRepr: `KeyError('${key}')` }),
  );
});

test.each<unknown>([
  7,
  'x',
  [],
  new Uuid('0'.repeat(32)),
  { args: 7, kwargs: {} },
  { args: [], kwargs: [] },
  { args: [], kwargs: new Map([[1, 2]]) },
])('%p is no call: TypeError', (body) => {
  expect(() => readRequestBody(body)).toThrow(expect.objectContaining({ pythonName: 'TypeError' }));
});
