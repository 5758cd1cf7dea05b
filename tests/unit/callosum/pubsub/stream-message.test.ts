import { decodeStreamMessage, encodeStreamMessage } from '../../../../src/callosum/pubsub/stream-message.js';
import { msgpack } from '../../../support/callosum.js';
import { readVectors } from '../../../support/vectors.js';

interface Vectors {
  readonly messages: readonly {
    readonly id: string;
    readonly created_at: string;
    readonly body: unknown;
    readonly publisher_frames_hex: readonly string[];
  }[];
}
const { messages } = readVectors<Vectors>('pubsub-messages.json');
const limits = { maxPayloadBytes: 100 };

/** `Date` has no microseconds; the vectors' times have six digits or none. */
function epochUs(text: string): number {
  const [, seconds = '', fraction = '0'] = /^(.*?)(?:\.(\d{6}))?\+00:00$/.exec(text) ?? [];
  return Date.parse(`${seconds}Z`) * 1000 + Number(fraction);
}

test.each(messages.map((vector) => [vector.id, vector] as const))('%s, both ways', (_id, vector) => {
  const createdAtUs = epochUs(vector.created_at);
  const payload = msgpack.pack(vector.body);
  const frames = encodeStreamMessage({ createdAtUs, payload }).map((frame) =>
    Buffer.from(frame).toString('hex'),
  );
  expect(frames).toEqual(vector.publisher_frames_hex);
  const read = decodeStreamMessage(
    frames.map((frame) => Buffer.from(frame, 'hex')),
    limits,
  );
  expect(read).toEqual({ ok: true, message: { createdAtUs, payload: Buffer.from(payload) } });
});

const good = messages[0]?.publisher_frames_hex.map((frame) => Buffer.from(frame, 'hex')) ?? [];
const [type = Buffer.alloc(0), header = Buffer.alloc(0), body = Buffer.alloc(0)] = good;

test.each([
  ['two frames', [type, header], 'frames'],
  ['a PING', [Buffer.from('PING'), header, body], 'frames'],
  ['a header that is no array', [type, Buffer.of(0x80), body], 'header'],
  ['a header of two fields', [type, Buffer.of(0x92, 0xc4, 0, 0xc0), body], 'header'],
  ['a creation time that is text', [type, Buffer.of(0x91, 0xa0), body], 'header'],
  ['a creation time that is none', [type, Buffer.of(0x91, 0xc4, 0), body], 'created-at'],
  ['a large payload', [type, header, Buffer.alloc(101)], 'payload-too-large'],
])('%s is refused', (_what, frames, fault) => {
  expect(decodeStreamMessage(frames, limits)).toEqual({ ok: false, fault });
});
