import {
  formatBinarySize,
  formatExactBinarySize,
  formatScaledBinarySize,
  formatShortBinarySize,
  parseBinarySize,
  parseFiniteBinarySize,
} from '../../../../src/resources/quantity/binary-size.js';

// The tables of spec/config-and-resources.md 4.2.
test.each([
  ['1024', 1024n],
  ['1_024', 1024n],
  ['1024 ', 1024n],
  ['1k', 1024n],
  ['1K', 1024n],
  ['1KB', 1024n],
  ['1KiB', 1024n],
  ['1 K', 1024n],
  ['1 kib', 1024n],
  ['2.5G', 2684354560n],
  ['.5k', 512n],
  ['10 b', 10n],
  ['10 bytes', 10n],
  ['-1K', -1024n],
  ['4 GiB', 4294967296n],
  ['1.0', 1n],
  ['536870912.000000', 536870912n],
  ['1y', 1024n ** 8n],
  ['-7', -7n],
])('%j is %s', (text, bytes) => {
  expect(parseBinarySize(text)).toBe(bytes);
  expect(parseFiniteBinarySize(text)).toBe(bytes);
});

test.each([
  '10b',
  '1ib',
  '1.5',
  '1e3',
  '0x10',
  '',
  'k',
  'b',
  '1kk',
  '1ki',
  'nan',
  '1e999k',
  `${'9'.repeat(99)}k`,
])('%j is refused', (text) => {
  expect(() => parseBinarySize(text)).toThrow(/Unconvertible value|Fractional bytes are not allowed/);
});

test.each(['inf', 'Infinite', 'INFINITY'])('%s is infinite where that is allowed', (text) => {
  expect(parseBinarySize(text)).toBe('infinite');
  expect(() => parseFiniteBinarySize(text)).toThrow('infinite values are not allowed');
});

test.each([
  [0n, '0 bytes', '0', '0m'],
  [1n, '1 byte', '1', '0m'],
  [1536n, '1.5 KiB', '1.5k', '0m'],
  [1048575n, '1024 KiB', '1024k', '1m'],
  [1100000000n, '1.02 GiB', '1.02g', '1049.04m'],
  [1073741824n, '1 GiB', '1g', '1024m'],
  [1610612736n, '1.5 GiB', '1.5g', '1536m'],
])('%s is written %j, %j and %j', (bytes, long, short, mebi) => {
  expect(formatBinarySize(bytes)).toBe(long);
  expect(formatShortBinarySize(bytes)).toBe(short);
  expect(formatScaledBinarySize(bytes, 'm')).toBe(mebi);
  expect(parseBinarySize(formatExactBinarySize(bytes))).toBe(bytes);
});

test('the exact form is short only where nothing is lost', () => {
  expect(formatExactBinarySize(1610612736n)).toBe('1.5g');
  expect(formatExactBinarySize(1100000000n)).toBe('1100000000');
});

test('scales', () => {
  expect(formatScaledBinarySize(1536n, ' ')).toBe('1536');
  expect(formatScaledBinarySize(1536n, 's')).toBe('1.5k');
  expect(() => formatScaledBinarySize(1n, 'q')).toThrow('Unsupported scale unit.');
  expect(() => formatScaledBinarySize(1n, 'kb')).toThrow('only one character');
});
