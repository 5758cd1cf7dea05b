import { Packr } from 'msgpackr';
import { createRequestId, encodeMessage, decodeMessage } from '../../../../src/callosum/wire/message.js';
import { readUsualBody, readUsualHeader } from '../../../../src/callosum/wire/usual-layout.js';

const packr = new Packr({ useRecords: false, variableMapSize: true });
const hex = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('hex');
const header = (fields: object = {}) =>
  Buffer.from(packr.pack({ type: 1, meth: 'ping', okey: '', seq: 7, zip: false, ...fields }));

test.each([
  { okey: '' },
  { okey: Buffer.alloc(0) },
  { okey: 'k'.repeat(255) },
  { okey: Buffer.alloc(255, 1) },
  { meth: 'm'.repeat(255) },
  { meth: '' },
  { seq: 0 },
  { seq: 127 },
  { seq: 255 },
  { seq: 65_535 },
  { seq: 2 ** 32 - 1 },
  { type: 0 },
  { type: 6 },
])('the usual header with %j: its values are cut out as they are', (fields) => {
  const read = readUsualHeader(header(fields));
  const values = { type: 1, meth: 'ping', okey: '', seq: 7, ...fields };
  expect(read?.type).toBe(values.type);
  expect(read?.id.method).toBe(values.meth);
  expect(hex(read?.id.rawMethod)).toBe(hex(packr.pack(values.meth)));
  expect(hex(read?.id.rawOrderKey)).toBe(hex(packr.pack(values.okey)));
  expect(hex(read?.id.rawSequence)).toBe(hex(packr.pack(values.seq)));
});

test.each([
  ['another type', header({ type: 7 })],
  ['a compressed body', header({ zip: true })],
  ['an order key of nil', header({ okey: null })],
  ['a long order key', header({ okey: 'k'.repeat(256) })],
  ['a negative sequence', header({ seq: -1 })],
  ['a sequence beyond 32 bits', header({ seq: 2n ** 40n })],
  ['a method that is not ASCII', header({ meth: 'pïng' })],
  ['a method that is binary', header({ meth: Buffer.from('ping') })],
  ['one key more', header({ more: 1 })],
  ['keys in another order', Buffer.from(packr.pack({ meth: 'ping', type: 1, okey: '', seq: 7, zip: false }))],
  ['a byte more', Buffer.concat([header(), Buffer.of(0)])],
  ['a byte less', header().subarray(0, -1)],
  ['nothing', Buffer.alloc(0)],
])('a header with %s is left to the other reader', (_what, bytes) => {
  expect(readUsualHeader(bytes)).toBeUndefined();
});

test.each(Array.from({ length: header().length }, (_, length) => length))(
  'a header cut off after %i bytes is left to the other reader',
  (length) => {
    expect(readUsualHeader(header().subarray(0, length))).toBeUndefined();
  },
);

test.each([0, 1, 255, 256, 65_535, 65_536])('a body with a payload of %i bytes', (length) => {
  const payload = Buffer.alloc(length, 0xab);
  const { body } = encodeMessage({ type: 'FUNCTION', id: createRequestId('m', '', 0), payload });
  expect(hex(readUsualBody(body))).toBe(hex(payload));
  expect(readUsualBody(Buffer.concat([body, Buffer.of(0)]))).toBeUndefined();
  expect(readUsualBody(body.subarray(0, -1))).toBeUndefined();
});

test.each([0, 255, 256, 65_536])(
  '%i bytes with room before them are not copied, and read the same',
  (length) => {
    const roomBytes = 32;
    const memory = Buffer.alloc(roomBytes + length, 0xab);
    const payload = memory.subarray(roomBytes);
    const id = createRequestId('m', '', 0);
    const plain = encodeMessage({ type: 'RESULT', id, payload: Buffer.from(payload) });
    const { body } = encodeMessage({ type: 'RESULT', id, payload, roomBytes });
    expect(hex(body)).toBe(hex(plain.body));
    expect(body.buffer).toBe(memory.buffer);
  },
);

test('the answer to a usual call has its header with the type of the answer', () => {
  const call = decodeMessage(header(), packr.pack({ meta: Buffer.alloc(0), body: Buffer.of(0xc0) }), {
    maxBodyBytes: 100,
  });
  if (!call.ok) throw new Error(call.fault);
  const { id } = call.message;
  expect(hex(encodeMessage({ type: 'CANCELLED', id }).header)).toBe(hex(header({ type: 6 })));
  expect(
    hex(encodeMessage({ type: 'RESULT', id, payload: Buffer.alloc(2000) }, { compress: true }).header),
  ).toBe(hex(header({ type: 2, zip: true })));
});
