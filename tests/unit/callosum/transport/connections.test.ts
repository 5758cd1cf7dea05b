import { Connections } from '../../../../src/callosum/transport/connections.js';
import { Refusals } from '../../../../src/callosum/transport/refusals.js';

test('above the bound newcomers are refused, those heard before go on, and room lets newcomers in', () => {
  const counts: number[] = [];
  const connections = new Connections(2, (open) => counts.push(open));
  connections.onAccept();
  connections.onAccept();
  expect(connections.admits('a')).toBe(true);
  connections.onAccept();
  expect([connections.admits('b'), connections.admits('a')]).toEqual([false, true]);
  connections.onDisconnect();
  expect(connections.admits('b')).toBe(true);
  expect(counts).toEqual([1, 2, 3, 2]);
});

test('of the peers heard only as many are remembered as there may be connections', () => {
  const connections = new Connections(2);
  for (const peer of ['a', 'b', 'a', 'c']) connections.admits(peer);
  for (let i = 0; i < 3; i++) connections.onAccept();
  expect(['a', 'b', 'c'].map((peer) => connections.admits(peer))).toEqual([true, false, true]);
});

test('a disconnect whose accept was missed does not count below zero', () => {
  const connections = new Connections(1);
  connections.onDisconnect();
  connections.onAccept();
  expect(connections.open).toBe(1);
});

test('refusals are counted by address, of which the ones seen last are kept', () => {
  const refusals = new Refusals();
  refusals.count('10.0.0.1');
  for (let i = 0; i < 255; i++) refusals.count(`10.1.0.${String(i)}`);
  refusals.count('10.0.0.1');
  refusals.count('10.2.0.1');
  expect(refusals.byAddress.size).toBe(256);
  expect(refusals.byAddress.get('10.0.0.1')).toBe(2);
  expect(refusals.byAddress.has('10.1.0.0')).toBe(false);
});
