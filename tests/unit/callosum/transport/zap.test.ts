import { z85Encode } from '../../../../src/callosum/transport/keys.js';
import { decideZap } from '../../../../src/callosum/transport/zap.js';
import { readVectors } from '../../../support/vectors.js';

interface Exchange {
  readonly what?: string;
  readonly request: readonly string[];
  readonly reply: readonly string[];
}
interface Vectors {
  readonly connections: readonly { readonly case: string; readonly zap: readonly Exchange[] }[];
  readonly direct_requests: readonly Exchange[];
}

const vectors = readVectors<Vectors>('zap.json');
const accepted = vectors.connections[0]?.zap[0]?.request[6] ?? '';
const acceptedKeys = new Set([z85Encode(Buffer.from(accepted, 'hex'))]);
const frames = (texts: readonly string[]) => texts.map((text) => Buffer.from(text, 'hex'));

const exchanges = [
  ...vectors.connections.flatMap((connection) =>
    connection.zap.map((zap) => [connection.case, zap] as const),
  ),
  ...vectors.direct_requests.map((zap) => [zap.what ?? '', zap] as const),
];

test.each(exchanges)('%s', (_what, { request, reply }) => {
  const verdict = decideZap(frames(request), acceptedKeys);
  expect([verdict?.status, verdict?.text, verdict?.userId]).toEqual(
    reply.slice(2, 5).map((text) => Buffer.from(text, 'hex').toString()),
  );
});

test('a request without an id has no answer', () => {
  expect(decideZap([Buffer.from('1.0')], acceptedKeys)).toBeUndefined();
});

test('a check that throws is answered with 500, and lets nobody in', () => {
  const [good] = exchanges;
  const verdict = decideZap(frames(good?.[1].request ?? []), {
    has: () => {
      throw new Error('the key directory is gone');
    },
  });
  expect(verdict).toEqual({ status: '500', text: 'Internal error', userId: '' });
});

test('a key of the wrong length is refused', () => {
  const request = frames(exchanges[0]?.[1].request ?? []);
  request[6] = Buffer.alloc(4);
  expect(decideZap(request, { has: () => true })).toMatchObject({ status: '400', text: 'Access denied' });
});
