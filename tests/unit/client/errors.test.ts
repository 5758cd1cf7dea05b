import {
  HandshakeError,
  PeerClosedError,
  RemoteInternalError,
  RemoteUserError,
} from '../../../src/callosum/index.js';
import { doubtsConnection, isPassing } from '../../../src/client/errors.js';
import { CancelledError, LimitExceededError, TimeoutError, ValueError } from '../../../src/core/errors.js';

const remote = (name: string) => new RemoteUserError('m', { name, repr: `${name}()`, traceback: '' });

test.each<[string, unknown, boolean]>([
  ['no answer in time', new TimeoutError('x'), true],
  ['no connection', new HandshakeError('x'), true],
  ['a connection that closed while it waited', new PeerClosedError('x', { retryable: true }), true],
  ['a connection that the caller closed', new PeerClosedError('x'), false],
  ['a full queue', new LimitExceededError('x', { retryable: true }), true],
  ['a server that drains', remote('PeerClosedError'), true],
  ['a server that is full', remote('LimitExceededError'), true],
  ['a failure of the agent', remote('KeyError'), false],
  [
    'a method that does not exist',
    new RemoteInternalError('m', { name: 'KeyError', repr: '', traceback: '' }),
    false,
  ],
  ['a call that was cancelled', new CancelledError('x'), false],
  ['a bad argument', new ValueError('x'), false],
  ['something thrown that is no error', 'x', false],
])('%s passes: %p -> %p', (_what, error, passing) => {
  expect(isPassing(error)).toBe(passing);
});

test('only silence and a closed peer put the connection in doubt', () => {
  expect([new TimeoutError('x'), new PeerClosedError('x')].map(doubtsConnection)).toEqual([true, true]);
  expect([remote('TimeoutError'), new CancelledError('x'), null].map(doubtsConnection)).toEqual([
    false,
    false,
    false,
  ]);
});
