import {
  Decimal,
  parseDecimal,
  positionalText,
  pythonText,
} from '../../../../src/resources/quantity/decimal.js';
import { ResourceSlot, type SlotTypes } from '../../../../src/resources/quantity/resource-slot.js';
import { isAcceleratorSlot, slotNameParts } from '../../../../src/resources/quantity/slot-name.js';
import { admitRequest } from '../../../../src/resources/quantity/slot-request.js';
import { failureOf } from '../amounts.js';

const TYPES: SlotTypes = new Map([
  ['cpu', 'count'],
  ['mem', 'bytes'],
  ['cuda.shares', 'count'],
]);

describe('decimals', () => {
  test('28 digits, half-even', () => {
    expect(positionalText(new Decimal(1).dividedBy(3))).toBe('0.3333333333333333333333333333');
    expect(positionalText(new Decimal(2).dividedBy(3))).toBe('0.6666666666666666666666666667');
  });

  test.each([
    ['1E+1', '10', '10'],
    ['0.10', '0.1', '0.1'],
    ['0.0000001', '0.0000001', '1E-7'],
    ['0.00000123', '0.00000123', '0.00000123'],
    ['-0', '0', '0'],
    ['-inf', '-Infinity', '-Infinity'],
    ['1_000', '1000', '1000'],
  ])('%s', (text, positional, python) => {
    expect(positionalText(parseDecimal(text))).toBe(positional);
    expect(pythonText(parseDecimal(text))).toBe(python);
  });

  test.each(['', 'nan', '1g', '1 2', '0x1', '1e99', '1e-99', '9'.repeat(100)])('%j is refused', (text) => {
    expect(failureOf(() => parseDecimal(text))).toBe('ValueError');
  });
});

test('slot names', () => {
  expect(slotNameParts('cuda.device:1g.5gb-mig')).toEqual({
    device: 'cuda',
    major: 'device',
    minor: '1g.5gb-mig',
  });
  expect(slotNameParts('cpu')).toEqual({ device: 'cpu', major: '', minor: '' });
  expect(['cuda.shares', 'cuda.device:x', 'mem', 'cuda.mem'].map(isAcceleratorSlot)).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

describe('slots', () => {
  test('sizes only where the name says memory; nulls are dropped', () => {
    expect(ResourceSlot.of({ mem: '1g', cpu: '2', x: null }).toJson()).toEqual({
      mem: '1073741824',
      cpu: '2',
    });
    expect(() => ResourceSlot.of({ cpu: '1g' })).toThrow('not a decimal number');
    expect(() => ResourceSlot.fromJson({ mem: '1g' })).toThrow('not a decimal number');
    expect(ResourceSlot.fromJson({ mem: 'inf' }).toJson()).toEqual({ mem: 'Infinity' });
  });

  test('arithmetic fills up missing keys', () => {
    const a = ResourceSlot.of({ cpu: '2' });
    const b = ResourceSlot.of({ cpu: '0.5', mem: '1k' });
    expect(a.minus(b).toJson()).toEqual({ cpu: '1.5', mem: '-1024' });
    expect(a.plus(b).negated().toJson()).toEqual({ cpu: '-2.5', mem: '-1024' });
  });

  test('a partial order', () => {
    const two = ResourceSlot.of({ cpu: '2' });
    const both = ResourceSlot.of({ cpu: '1', mem: '1' });
    expect([two.isBelow(both), two.isAbove(both), two.equals(both)]).toEqual([false, false, false]);
    const more = ResourceSlot.of({ cpu: '2', mem: '1' });
    expect([both.isBelow(more), more.isAbove(both), more.isAtLeast(more), more.isBelow(more)]).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect(two.equals(ResourceSlot.of({ cpu: '2.0', mem: '0' }))).toBe(true);
  });

  test('containing and contained', () => {
    const small = ResourceSlot.of({ cpu: '1' });
    const large = ResourceSlot.of({ cpu: '1', mem: '0' });
    expect(small.equalsContaining(large)).toBe(true);
    expect(small.equalsContaining(ResourceSlot.of({ cpu: '1', mem: '2' }))).toBe(false);
    expect(large.equalsContained(small)).toBe(true);
  });

  test('normalizing knows its slots', () => {
    const slots = ResourceSlot.of({ cpu: '1', foo: '1' });
    expect(slots.normalized(TYPES, { ignoreUnknown: true }).toJson()).toEqual({
      cpu: '1',
      mem: '0',
      'cuda.shares': '0',
    });
    expect(() => slots.normalized(TYPES, { ignoreUnknown: false })).toThrow("Unknown slots: 'foo'");
  });

  test('what people write', () => {
    const slots = ResourceSlot.fromUserInput({ 'cuda.shares': '1.23456', mem: '1.5g', cpu: '0' }, TYPES);
    expect(slots.toJson()).toEqual({ 'cuda.shares': '1.235', mem: '1610612736', cpu: '0' });
    expect(slots.toHumanized(TYPES)).toEqual({ 'cuda.shares': '1.235', mem: '1.5g', cpu: '0' });
    expect(() => ResourceSlot.fromUserInput({ shmem: '1g' }, TYPES)).toThrow("Unknown slot type: 'shmem'");
    expect(() => ResourceSlot.fromUserInput({ cpu: '-1' }, TYPES)).toThrow('negative');
  });

  test('intrinsic slots', () => {
    expect(ResourceSlot.of({ cpu: '1', mem: '1' }).hasIntrinsicSlots()).toBe(true);
    expect(ResourceSlot.of({ cpu: '1' }).hasIntrinsicSlots()).toBe(false);
  });
});

describe('what a kernel may ask for', () => {
  const admit = (slots: Record<string, string>, shmemBytes: bigint | null = null) =>
    admitRequest({ slots, shmemBytes }, TYPES);

  test('unknown slots only with nothing; known ones are filled up', () => {
    expect(admit({ cpu: '1', mem: '1024', foo: '0' }).toJson()).toEqual({
      cpu: '1',
      mem: '1024',
      'cuda.shares': '0',
    });
    expect(failureOf(() => admit({ cpu: '1', mem: '1024', foo: '1' }))).toBe('UnsupportedResource');
  });

  test.each<[string, Record<string, string>, string]>([
    ['no cpu', { mem: '1' }, 'UnsupportedResource'],
    ['no mem', { cpu: '1' }, 'UnsupportedResource'],
    ['zero cpu', { cpu: '0', mem: '1' }, 'InvalidResourceArgument'],
    ['a part of a core', { cpu: '0.5', mem: '1' }, 'InvalidResourceArgument'],
    ['zero mem', { cpu: '1', mem: '0' }, 'InvalidResourceArgument'],
    ['half a byte', { cpu: '1', mem: '1.5' }, 'InvalidResourceArgument'],
    ['less than nothing', { cpu: '1', mem: '1', 'cuda.shares': '-1' }, 'InvalidResourceArgument'],
    ['everything', { cpu: 'inf', mem: '1' }, 'InvalidResourceArgument'],
    ['no number', { cpu: 'many', mem: '1' }, 'InvalidResourceArgument'],
  ])('%s is refused', (_, slots, name) => {
    expect(failureOf(() => admit(slots))).toBe(name);
  });

  test('shared memory is part of the memory', () => {
    expect(failureOf(() => admit({ cpu: '1', mem: '1024' }, 1024n))).toBe('InvalidResourceArgument');
    expect(failureOf(() => admit({ cpu: '1', mem: '1024' }, -1n))).toBe('InvalidResourceArgument');
    expect(failureOf(() => admit({ cpu: '1', mem: '1024' }, 64n))).toBe('no failure');
  });
});
