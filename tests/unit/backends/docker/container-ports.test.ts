import { takenPortsOf } from '../../../../src/backends/docker/container-ports.js';

const RESERVED = { '2000/tcp': [20_000], '2001/tcp': [20_001], '8070/tcp': [20_002] };

test.each([
  [
    'Bind for 0.0.0.0:20002 failed: port is already allocated',
    'driver failed programming external connectivity on endpoint kernel.x (0123): ',
  ],
  ['listen tcp4 0.0.0.0:20002: bind: address already in use', 'Error starting userland proxy: '],
  ['listen tcp6 [::]:20002: bind: address already in use', 'Error starting userland proxy: '],
  ['failed to bind host port for 0.0.0.0:20002:172.17.0.2:8070/tcp: address already in use', ''],
  [
    'failed to bind host port 0.0.0.0:20002/tcp: address already in use',
    'failed to set up container networking: ',
  ],
])('of a refusal with "%s" the port is read', (words, before) => {
  expect(takenPortsOf(before + words, RESERVED)).toEqual([20_002]);
});

test('where the engine does not say which one, it may be any', () => {
  expect(takenPortsOf('bind: address already in use', RESERVED)).toEqual([20_000, 20_001, 20_002]);
});

test('other refusals are nobody’s port, also when they name one', () => {
  expect(takenPortsOf('OCI runtime create failed: 0.0.0.0:20002: no such file', RESERVED)).toEqual([]);
});
