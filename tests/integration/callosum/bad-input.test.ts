import { unpack } from 'msgpackr';
import type { Dealer } from 'zeromq';
import type { Peer } from '../../../src/callosum/index.js';
import { UnknownMethodError } from '../../../src/callosum/index.js';
import { createRequestId, encodeMessage } from '../../../src/callosum/wire/message.js';
import { createCodec } from '../../../src/codec/index.js';
import { msgpack, RecordedMetrics } from '../../support/callosum.js';
import {
  echo,
  PeerBench,
  receiveMessage,
  receiveUntilPong,
  sendMessage,
} from '../../support/callosum-peers.js';

/** What ends a Python server for good, for all clients (spec/wire-protocol.md 6.1), must not end this one. */
const bench = new PeerBench();
afterEach(() => bench.close());

const id = createRequestId('echo', '', 7);
const good = encodeMessage({ type: 'FUNCTION', id, payload: Buffer.of(1) });
const map = (entries: Record<string, unknown>) => msgpack.pack(entries);
const header = { type: 1, meth: 'echo', okey: '', seq: 7, zip: false };
const body = { meta: Buffer.alloc(0), body: Buffer.of(1) };
const without = (entries: Record<string, unknown>, left: string) =>
  map(Object.fromEntries(Object.entries(entries).filter(([key]) => key !== left)));
const orderKeyMap = Buffer.from(map({ ...header, okey: { a: 1 } }));
const framedSnappy = Buffer.from('ff060000734e61507059', 'hex');

/** `owed`: ERROR. `verbatim`: an ERROR whose id no peer can use either, and which goes back all the same. */
type Answer = 'none' | 'owed' | 'verbatim';

const cases: readonly (readonly [string, Uint8Array, Uint8Array, Answer])[] = [
  ['a header that is no msgpack', Buffer.of(0xc1), good.body, 'none'],
  ['a header that is no map', msgpack.pack([1, 2]), good.body, 'none'],
  ['an empty header', Buffer.alloc(0), good.body, 'none'],
  ['extra bytes after the header', Buffer.concat([good.header, Buffer.of(0)]), good.body, 'none'],
  ['a header with a number as key', Buffer.from('81 01 01'.replaceAll(' ', ''), 'hex'), good.body, 'none'],
  ...Object.keys(header).map(
    (key) => [`a header without ${key}`, without(header, key), good.body, 'none'] as const,
  ),
  ['an unknown type number', map({ ...header, type: 7 }), good.body, 'none'],
  ['a type that is text', map({ ...header, type: '1' }), good.body, 'none'],
  ['a method that is binary', map({ ...header, meth: Buffer.from('echo') }), good.body, 'verbatim'],
  ['an order key that is a map', orderKeyMap, good.body, 'verbatim'],
  ['a body that is no msgpack', good.header, Buffer.of(0xc1), 'owed'],
  ['a body that is no map', good.header, msgpack.pack('x'), 'owed'],
  ['a body without meta', good.header, without(body, 'meta'), 'owed'],
  ['a body without body', good.header, without(body, 'body'), 'owed'],
  ['a body with a number as key', good.header, Buffer.from('810101', 'hex'), 'owed'],
  ['metadata of the wrong length', good.header, map({ ...body, meta: msgpack.pack(['a']) }), 'owed'],
  ['metadata that is no array', good.header, map({ ...body, meta: msgpack.pack('a') }), 'owed'],
  ['metadata that is a number', good.header, map({ ...body, meta: 3 }), 'owed'],
  ['zip with a body that is not compressed', map({ ...header, zip: true }), good.body, 'owed'],
  ['zip with the framing format', map({ ...header, zip: true }), framedSnappy, 'owed'],
  ['a payload that is nil', good.header, map({ ...body, body: null }), 'owed'],
  ['a payload with trailing bytes', good.header, map({ ...body, body: Buffer.of(1, 2) }), 'owed'],
  ['an empty payload', good.header, map({ ...body, body: Buffer.alloc(0) }), 'owed'],
];

async function expectServing(server: Peer, socket: Dealer): Promise<void> {
  await expect(receiveUntilPong(socket)).resolves.toEqual([]);
  await sendMessage(socket, { type: 'FUNCTION', id, payload: Buffer.of(5) });
  await expect(receiveMessage(socket)).resolves.toMatchObject({ type: 'RESULT', payload: Buffer.of(5) });
  await expect((await bench.connect(server)).invoke('echo', 'others')).resolves.toBe('others');
}

test.each(cases)('%s', async (_what, badHeader, badBody, answer) => {
  const metrics = new RecordedMetrics();
  const server = await bench.bind(echo, { metrics });
  const socket = bench.dealer(server);
  await socket.send(['UPPER', badHeader, badBody]);
  if (answer === 'owed')
    await expect(receiveMessage(socket)).resolves.toMatchObject({
      type: 'ERROR',
      description: { name: 'ValueError', repr: expect.stringMatching(/^ValueError\(/) },
    });
  if (answer === 'verbatim') {
    const [, replyHeader = Buffer.alloc(0)] = await socket.receive();
    const reply = unpack(replyHeader) as Record<string, unknown>;
    expect(reply).toEqual({ ...(unpack(badHeader) as Record<string, unknown>), type: 4 });
  }
  await expectServing(server, socket);
});

test('an unknown method is answered with ERROR named KeyError', async () => {
  const server = await bench.bind((call) =>
    call.method === 'echo' ? echo(call) : Promise.reject(new UnknownMethodError(call.method)),
  );
  const socket = bench.dealer(server);
  await sendMessage(socket, {
    type: 'FUNCTION',
    id: createRequestId('health_v2', '', 1),
    payload: Buffer.of(0xc0),
  });
  await expect(receiveMessage(socket)).resolves.toMatchObject({
    type: 'ERROR',
    description: { name: 'KeyError', repr: "KeyError('health_v2')" },
  });
  await expectServing(server, socket);
});

test.each([
  ['a pickle of an unknown class', '80058c026f738c0673797374656d932e'],
  ['a pickle that is cut off', '80058c07'],
])('%s is answered with ERROR', async (_what, pickle) => {
  const server = await bench.bind(echo, { serializer: createCodec() });
  const socket = bench.dealer(server);
  const bytes = Buffer.from(pickle, 'hex');
  await sendMessage(socket, {
    type: 'FUNCTION',
    id,
    payload: Buffer.concat([Buffer.of(0xc7, bytes.length, 6), bytes]),
  });
  await expect(receiveMessage(socket)).resolves.toMatchObject({
    type: 'ERROR',
    description: { name: 'UnpicklingError' },
  });
  await expectServing(server, socket);
});

test('a payload nested beyond the limit is answered with ERROR', async () => {
  const server = await bench.bind(echo, { serializer: createCodec() });
  const socket = bench.dealer(server);
  const nested = Buffer.concat([Buffer.alloc(200_000, 0x91), Buffer.of(0xc0)]);
  await sendMessage(socket, { type: 'FUNCTION', id, payload: nested });
  await expect(receiveMessage(socket)).resolves.toMatchObject({ type: 'ERROR' });
  await expectServing(server, socket);
});

test('two running calls with one id are both served, and one CANCEL ends both', async () => {
  let started = 0;
  const server = await bench.bind((call) => {
    if (call.method === 'echo') return echo(call);
    started += 1;
    return new Promise((_, reject) => {
      call.signal.addEventListener('abort', () => {
        reject(call.signal.reason as Error);
      });
    });
  });
  const socket = bench.dealer(server);
  const twice = createRequestId('wait', '', 1);
  await sendMessage(socket, { type: 'FUNCTION', id: twice, payload: Buffer.of(0xc0) });
  await sendMessage(socket, { type: 'FUNCTION', id: twice, payload: Buffer.of(0xc0) });
  await receiveUntilPong(socket);
  expect(started).toBe(2);
  await sendMessage(socket, { type: 'CANCEL', id: twice });
  expect([(await receiveMessage(socket)).type, (await receiveMessage(socket)).type]).toEqual([
    'CANCELLED',
    'CANCELLED',
  ]);
  await expectServing(server, socket);
});

test('CANCEL of a call that is unknown or answered already is ignored', async () => {
  const server = await bench.bind(echo);
  const socket = bench.dealer(server);
  await sendMessage(socket, { type: 'CANCEL', id });
  await sendMessage(socket, { type: 'FUNCTION', id, payload: Buffer.of(1) });
  await expect(receiveMessage(socket)).resolves.toMatchObject({ type: 'RESULT' });
  await sendMessage(socket, { type: 'CANCEL', id });
  await expectServing(server, socket);
});

test('replies that answer nothing are ignored', async () => {
  const server = await bench.bind(echo);
  const socket = bench.dealer(server);
  const description = { name: 'a', repr: 'b', traceback: 'c' };
  await sendMessage(socket, { type: 'RESULT', id, payload: Buffer.of(1) });
  await sendMessage(socket, { type: 'FAILURE', id, description });
  await sendMessage(socket, { type: 'ERROR', id, description });
  await sendMessage(socket, { type: 'CANCELLED', id });
  await sendMessage(socket, { type: 'NULL', id });
  await expectServing(server, socket);
});

test('calls go both ways over one connection at once, with the same sequence numbers', async () => {
  let caller = '';
  const server = await bench.bind((call) => {
    caller = call.peer;
    return Promise.resolve(`server ${String(call.body)}`);
  });
  const client = await bench.connect(server, {
    handler: (call) => Promise.resolve(`client ${String(call.body)}`),
  });
  await client.invoke('hello', 0);
  const there = Array.from({ length: 100 }, (_, i) => client.invoke('m', i));
  const back = Array.from({ length: 100 }, (_, i) => server.invoke('m', i, { peer: caller }));
  await expect(Promise.all(there)).resolves.toEqual(
    Array.from({ length: 100 }, (_, i) => `server ${String(i)}`),
  );
  await expect(Promise.all(back)).resolves.toEqual(
    Array.from({ length: 100 }, (_, i) => `client ${String(i)}`),
  );
});

test('a bound peer that calls a peer it has lost is told', async () => {
  const server = await bench.bind(echo);
  await expect(server.invoke('m', 1, { peer: '0011223344' })).rejects.toMatchObject({
    code: 'PEER_CLOSED',
    message: expect.stringContaining('unreachable'),
  });
});
