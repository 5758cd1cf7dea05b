import { Caller } from '../../../src/callosum/caller.js';
import type { Message } from '../../../src/callosum/wire/message.js';
import type { SendOutcome } from '../../../src/callosum/transport/outbox.js';
import { SerialNumbers, sequenceNumbers } from '../../../src/callosum/wire/serial-number.js';
import { msgpack } from '../../support/callosum.js';

function callerFrom(first: number, outcome: SendOutcome = 'sent', numbers = sequenceNumbers) {
  const sent: Message[] = [];
  const caller = new Caller({
    serializer: msgpack,
    maxMessageBytes: 1000,
    sequence: { numbers, first },
    send: (_peer, message, onOutcome) => {
      sent.push(message);
      onOutcome?.(outcome);
    },
  });
  return { caller, sent };
}

const sequences = (sent: readonly Message[]) =>
  sent.map(({ id }) => Buffer.from(id.rawSequence).toString('hex'));

test('sequence numbers wrap from 2^32 - 1 to 0, and replies are matched all the same', async () => {
  const { caller, sent } = callerFrom(2 ** 32 - 2);
  const calls = ['x', 'y', 'z'].map((body) => caller.invoke('', 'm', body, {}));
  await Promise.resolve();
  expect(sequences(sent)).toEqual(['cefffffffe', 'ceffffffff', '00']);
  for (const message of [...sent].reverse())
    if (message.type === 'FUNCTION')
      caller.onReply('', { type: 'RESULT', id: message.id, payload: message.payload });
  await expect(Promise.all(calls)).resolves.toEqual(['x', 'y', 'z']);
});

test('a number whose call still waits is left out after a wrap', () => {
  const { caller, sent } = callerFrom(0, 'sent', new SerialNumbers(2));
  for (let i = 0; i < 4; i++) void caller.invoke('', 'm', null, {}).catch(() => undefined);
  const [, second] = sent;
  if (second) caller.onReply('', { type: 'RESULT', id: second.id, payload: Buffer.of(1) });
  void caller.invoke('', 'm', null, {}).catch(() => undefined);
  expect(sequences(sent)).toEqual(['00', '01', '02', '03', '01']);
  caller.close();
});

test('a second reply to a call is one that nobody waits for', async () => {
  const { caller, sent } = callerFrom(0);
  const call = caller.invoke('', 'm', null, {});
  await Promise.resolve();
  const [request] = sent;
  if (!request) throw new Error('nothing was sent');
  expect(caller.onReply('', { type: 'RESULT', id: request.id, payload: Buffer.of(1) })).toBe(true);
  expect(caller.onReply('', { type: 'RESULT', id: request.id, payload: Buffer.of(2) })).toBe(false);
  await expect(call).resolves.toBe(1);
});

test('a time limit sends CANCEL with the id of the call', async () => {
  const { caller, sent } = callerFrom(7);
  await expect(caller.invoke('', 'm', null, { timeoutMs: 1 })).rejects.toMatchObject({ code: 'TIMEOUT' });
  expect(sent.map(({ type }) => type)).toEqual(['FUNCTION', 'CANCEL']);
  expect(sequences(sent)).toEqual(['07', '07']);
});

test('CANCELLED from the callee sends no CANCEL', async () => {
  const { caller, sent } = callerFrom(0);
  const call = caller.invoke('', 'm', null, { timeoutMs: 30_000 });
  await Promise.resolve();
  const [request] = sent;
  if (request) caller.onReply('', { type: 'CANCELLED', id: request.id });
  await expect(call).rejects.toMatchObject({ code: 'CANCELLED' });
  expect(sent).toHaveLength(1);
});

test.each([
  ['queue-full', 'LIMIT_EXCEEDED'],
  ['unreachable', 'PEER_CLOSED'],
  ['closed', 'PEER_CLOSED'],
] as const)('a call whose message is %s is rejected', async (outcome, code) => {
  const { caller } = callerFrom(0, outcome);
  await expect(caller.invoke('', 'm', null, {})).rejects.toMatchObject({ code });
});

test('arguments above the message size are refused before they are sent', async () => {
  const { caller, sent } = callerFrom(0);
  await expect(caller.invoke('', 'm', 'x'.repeat(1000), {})).rejects.toMatchObject({
    code: 'LIMIT_EXCEEDED',
  });
  expect(sent).toEqual([]);
});
