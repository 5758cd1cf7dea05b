import {
  isPong,
  pingFrames,
  pongFrames,
  readFrames,
  upperFrames,
} from '../../../../src/callosum/wire/frames.js';
import { readVectors } from '../../../support/vectors.js';

interface Exchange {
  readonly what: string;
  readonly client_sends: readonly string[];
  readonly server_replies?: readonly (readonly string[])[];
}

const { raw_dealer_to_python_server: exchanges } = readVectors<{
  readonly raw_dealer_to_python_server: readonly Exchange[];
}>('zeromq-frames.json');

const ROUTING_ID = '006b8b4567';
const frames = (...texts: readonly string[]) => texts.map((text) => Buffer.from(text, 'hex'));
const asHex = (list: readonly Uint8Array[]) => list.map((frame) => Buffer.from(frame).toString('hex'));

describe('recorded exchanges as a ROUTER sees them', () => {
  test.each(exchanges.map((exchange) => [exchange.what, exchange] as const))('%s', (_what, exchange) => {
    const incoming = readFrames(frames(ROUTING_ID, ...exchange.client_sends));
    const replies = exchange.server_replies ?? [];
    switch (incoming.kind) {
      case 'ping':
        // The last exchange of the recording finds the Python server dead; this one always answers.
        expect(asHex(pongFrames(incoming)).slice(1)).toEqual(replies[0] ?? ['504f4e47', '', '']);
        break;
      case 'upper':
        expect(Buffer.from(incoming.peer ?? []).toString('hex')).toBe(ROUTING_ID);
        expect(asHex([incoming.header, incoming.body])).toEqual(exchange.client_sends.slice(-2));
        break;
      case 'ignored':
        expect(replies).toEqual([]);
    }
  });
});

test('a DEALER sees no envelope, hence no peer', () => {
  expect(readFrames(frames('5550504552', '01', '02'))).toMatchObject({ kind: 'upper', peer: undefined });
});

test.each([
  [[], 'too-few-frames'],
  [['50494e47', ''], 'too-few-frames'],
  [['70696e67', '', ''], 'unknown-frame-type'],
  [['504f4e47', '', ''], 'unexpected-pong'],
] as const)('%p is ignored as %s', (texts, fault) => {
  expect(readFrames(frames(...texts))).toEqual({ kind: 'ignored', fault });
});

test('the handshake sends PING with two empty frames', () => {
  expect(asHex(pingFrames())).toEqual(['50494e47', '', '']);
});

test.each([
  [['504f4e47', '', ''], true],
  [['504f4e47'], true],
  [['504f4e48', '', ''], false],
  [[], false],
] as const)('%p completes the handshake: %p', (texts, expected) => {
  expect(isPong(frames(...texts))).toBe(expected);
});

test('a reply carries the routing id and nothing else of the envelope', () => {
  const [peer, header, body] = [Buffer.of(0, 1), Buffer.of(2), Buffer.of(3)];
  expect(asHex(upperFrames(peer, header, body))).toEqual(['0001', '5550504552', '02', '03']);
  expect(asHex(upperFrames(undefined, header, body))).toEqual(['5550504552', '02', '03']);
});
