import { sequenceNumbers, SerialNumbers } from '../../../../src/callosum/wire/serial-number.js';
import { readVectors } from '../../../support/vectors.js';

interface Case {
  readonly a: number;
  readonly b: number;
  readonly bits: number;
  readonly lt: boolean;
  readonly gt: boolean;
}
const { serial_arithmetic: cases } = readVectors<{ readonly serial_arithmetic: readonly Case[] }>(
  'callosum-messages.json',
);

test.each(cases)('of $bits bits: $a and $b compare as recorded', ({ a, b, bits, lt, gt }) => {
  const numbers = new SerialNumbers(bits);
  expect(numbers.isLess(a, b)).toBe(lt);
  expect(numbers.isGreater(a, b)).toBe(gt);
});

test('the last sequence id is followed by 0', () => {
  expect(sequenceNumbers.next(0)).toBe(1);
  expect(sequenceNumbers.next(2 ** 32 - 1)).toBe(0);
});
