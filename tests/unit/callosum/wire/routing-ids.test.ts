import { RoutingIds } from '../../../../src/callosum/wire/routing-ids.js';

test.each(['', '0000000001', '00ffffffff', '01ffffffff', '616263', '0001', 'ff'.repeat(255)])(
  'the routing id %j is the same there and back, every time',
  (text) => {
    const ids = new RoutingIds();
    for (let i = 0; i < 2; i++) {
      expect(ids.textOf(Buffer.from(text, 'hex'))).toBe(text);
      expect(Buffer.from(ids.frameOf(text)).toString('hex')).toBe(text);
    }
  },
);

test('no frame is no text', () => {
  expect(new RoutingIds().textOf(undefined)).toBe('');
});

test('more ids than are remembered', () => {
  const ids = new RoutingIds();
  for (let number = 0; number < 10_000; number++) {
    const frame = Buffer.alloc(5);
    frame.writeUInt32BE(number, 1);
    const text = frame.toString('hex');
    expect(ids.textOf(frame)).toBe(text);
    expect(Buffer.from(ids.frameOf(text))).toEqual(frame);
  }
});
