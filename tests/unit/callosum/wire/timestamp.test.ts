import { decodeTimestamp, encodeTimestamp } from '../../../../src/callosum/wire/timestamp.js';

const US = 1000;

test.each([
  ['2025-11-03T09:41:07.123Z', 456, 'ebf4d09348e3c48100'],
  ['2025-11-03T09:41:07.000Z', 0, 'ebf4d09348e0000100'],
])('%s plus %p us is written as Python writes it', (time, extraUs, hex) => {
  const epochUs = Date.parse(time) * US + extraUs;
  expect(Buffer.from(encodeTimestamp(epochUs)).toString('hex')).toBe(hex);
  expect(decodeTimestamp(Buffer.from(hex, 'hex'))).toBe(epochUs);
});

test.each([0, -1, -9_000_000_000_000_000, 1, 999_999, 1_709_164_800_000_001, 8_000_000_000_000_000])(
  '%p microseconds come back',
  (epochUs) => {
    expect(decodeTimestamp(encodeTimestamp(epochUs))).toBe(epochUs);
  },
);

test.each([NaN, Infinity, 0.5, 9e15 * 10, -9e15 * 10])('%p has no encoding', (epochUs) => {
  expect(() => encodeTimestamp(epochUs)).toThrow(expect.objectContaining({ code: 'ARGS_INVALID_VALUE' }));
});

test.each([
  ['nothing', ''],
  ['another length', 'ebf4d09348e3c481'],
  ['a naive time', '5e94d09348e3c48100'],
  ['a date that is not set', 'ffffffffffffffffff'],
  ['a year whose microseconds are no exact number', 'eddc00000000000100'],
  ['February 31st', 'ebf40f800000000100'],
])('%s is no timestamp', (_what, hex) => {
  expect(decodeTimestamp(Buffer.from(hex, 'hex'))).toBeUndefined();
});
