import { jsonText } from '../../../src/cli/json-text.js';
import { formatTable } from '../../../src/cli/table.js';
import { BinarySize, Decimal, Uuid } from '../../../src/codec/index.js';

test('a table has columns as wide as their widest cell and no blanks at the end of a line', () => {
  expect(
    formatTable(
      ['NAME', 'A'],
      [
        ['x', ''],
        ['much longer', '10'],
      ],
    ),
  ).toEqual(['NAME         A', 'x', 'much longer  10']);
});

test('JSON of a result: bytes, maps, large integers and values of the codec', () => {
  const id = '0c1bc8a4-6b6c-4c3a-9b2a-2f9a3f3b7a11';
  const text = jsonText(
    {
      bytes: Buffer.from('hello'),
      map: new Map([[new Uuid(id), { amount: new Decimal('1.50') }]]),
      small: 7n,
      large: 2n ** 63n,
      size: new BinarySize(1024n),
      list: [null, true, undefined],
    },
    0,
  );
  expect(JSON.parse(text)).toEqual({
    bytes: 'aGVsbG8=',
    map: { [id]: { amount: '1.50' } },
    small: 7,
    large: '9223372036854775808',
    size: expect.any(String),
    list: [null, true, null],
  });
});
